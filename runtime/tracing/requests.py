"""Spans of an adapter's requests, as OpenTelemetry's HTTP conventions have them.

The span of a request that starts a saga is above all of its saga's.
"""

import re
from typing import Any

from opentelemetry import context as contexts
from opentelemetry.semconv.attributes import client_attributes as client
from opentelemetry.semconv.attributes import error_attributes as errors
from opentelemetry.semconv.attributes import http_attributes as http
from opentelemetry.semconv.attributes import server_attributes as server
from opentelemetry.semconv.attributes import url_attributes as url
from opentelemetry.semconv.attributes import user_agent_attributes as user_agent
from opentelemetry.trace import Span, SpanKind, StatusCode, set_span_in_context

from ..log_fields import know, known_fields, trace_fields
from . import context as trace_context
from .spans import SAGA_ID, Traces

METHODS = frozenset(
    {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"}
)
UNTRACED = ("/health", "/metrics")  # asked for often, by machines
ERROR = 500  # and above: what is no fault of the client's


def trace_requests(app: Any, traces: Traces) -> None:
    """Let an app make a span of each request, and of each message that it sends."""

    async def begin(request: Any) -> None:
        if not request.path.startswith(UNTRACED):
            request.ctx.span = _begin(request, traces)

    async def end(request: Any, response: Any) -> None:
        if span := getattr(request.ctx, "span", None):
            _end(span, response.status)

    app.register_middleware(begin, "request")
    app.register_middleware(end, "response")
    app.ctx.sending = lambda messages: [traces.sending_command(one) for one in messages]


def _begin(request: Any, traces: Traces) -> Span:
    method = request.method if request.method in METHODS else "_OTHER"
    attributes = {
        http.HTTP_REQUEST_METHOD: method,
        url.URL_PATH: request.path,
        url.URL_SCHEME: request.scheme,
        client.CLIENT_ADDRESS: request.ip,
        server.SERVER_ADDRESS: request.server_name,
        server.SERVER_PORT: request.server_port,
    }
    if agent := request.headers.get("user-agent"):
        attributes[user_agent.USER_AGENT_ORIGINAL] = agent
    name = "HTTP" if method == "_OTHER" else method
    if template := request.uri_template:
        route = re.sub(r"<(\w+)[^>]*>", r"{\1}", template)
        attributes[http.HTTP_ROUTE] = route
        name = f"{name} {route}"
    parent = trace_context.read(request.ctx.traceparent)
    span = traces.tracer.start_span(name, trace_context.below(parent), SpanKind.SERVER, attributes)
    contexts.attach(set_span_in_context(span))  # in the request's own task, until its next one
    request.ctx.traceparent = trace_context.write(span.get_span_context())
    know({**known_fields(), **trace_fields(request.ctx.traceparent)})
    return span


def _end(span: Span, status: int) -> None:
    span.set_attribute(http.HTTP_RESPONSE_STATUS_CODE, status)
    if saga_id := known_fields().get("saga_id"):
        span.set_attribute(SAGA_ID, saga_id)
    if status >= ERROR:
        span.set_attribute(errors.ERROR_TYPE, str(status))
        span.set_status(StatusCode.ERROR)
    span.end()
