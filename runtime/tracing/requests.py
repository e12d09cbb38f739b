"""Spans of an adapter's requests, as OpenTelemetry's HTTP conventions have them.

The span of a request that starts a saga is above all of its saga's.
"""

import re
from functools import lru_cache
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
ROUTES = 256  # of one app, with their methods
ERROR = 500  # and above: what is no fault of the client's


def trace_requests(app: Any, traces: Traces) -> None:
    """Let an app make a span of each request, and of each message that it sends."""

    def begin(request: Any) -> None:
        if not request.path.startswith(UNTRACED):
            request.ctx.span = _begin(request, traces)

    def end(request: Any, response: Any) -> None:
        if span := getattr(request.ctx, "span", None):
            _end(span, response.status)

    app.register_middleware(begin, "request")
    app.register_middleware(end, "response")
    app.ctx.sending = lambda messages: [traces.sending_command(one) for one in messages]


def _begin(request: Any, traces: Traces) -> Span:
    method = request.method if request.method in METHODS else "_OTHER"
    name, route = _named(method, request.uri_template)
    attributes = {http.HTTP_REQUEST_METHOD: method, url.URL_PATH: request.path, **route}
    parent = trace_context.read(request.ctx.traceparent)
    span = traces.tracer.start_span(name, trace_context.below(parent), SpanKind.SERVER, attributes)
    if span.is_recording():  # most of a flood are not, and what is told of them costs more
        span.set_attributes(_described(request))
    contexts.attach(set_span_in_context(span))  # in the request's own task, until its next one
    request.ctx.traceparent = trace_context.write(span.get_span_context())
    know({**known_fields(), **trace_fields(request.ctx.traceparent)})
    return span


@lru_cache(ROUTES)
def _named(method: str, template: str | None) -> tuple[str, dict[str, str]]:
    """Return a span's name, and the attribute of its route."""
    name = "HTTP" if method == "_OTHER" else method
    if not template:
        return name, {}
    route = re.sub(r"<(\w+)[^>]*>", r"{\1}", template)
    return f"{name} {route}", {http.HTTP_ROUTE: route}


def _described(request: Any) -> dict[str, Any]:
    told = {
        url.URL_SCHEME: request.scheme,
        client.CLIENT_ADDRESS: request.ip,
        server.SERVER_ADDRESS: request.server_name,
        server.SERVER_PORT: request.server_port,
    }
    if agent := request.headers.get("user-agent"):
        told[user_agent.USER_AGENT_ORIGINAL] = agent
    return told


def _end(span: Span, status: int) -> None:
    span.set_attribute(http.HTTP_RESPONSE_STATUS_CODE, status)
    if saga_id := known_fields().get("saga_id"):
        span.set_attribute(SAGA_ID, saga_id)
    if status >= ERROR:
        span.set_attribute(errors.ERROR_TYPE, str(status))
        span.set_status(StatusCode.ERROR)
    span.end()
