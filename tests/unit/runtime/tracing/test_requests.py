"""The spans of requests, and what is sent on behalf of them."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode
from sanic import Blueprint, Sanic

from saga.functions.orchestrator.place_order import place_order
from saga.http import orchestrator
from saga.runtime.envelope import Envelope
from saga.runtime.log_fields import known_fields
from saga.runtime.settings import Settings
from saga.runtime.tracing.requests import trace_requests
from saga.runtime.web import answer, in_thread, new_app
from saga.runtime.web.app import Health
from support.api import Api, Broker

TRACE = f"00-{1:032x}-{1:016x}-01"
WISH = {"user_id": 1, "product_id": 1, "quantity": 1}

Start = Callable[[Sanic[Any, Any]], Api]


@pytest.fixture
def api(start: Start, settings: Settings, traces) -> Api:
    api = Blueprint("bakery")

    @api.get("/bread/<saga_id:id>")
    async def bread(request, saga_id):
        await in_thread(request, lambda: traces.tracer.start_span("database").end())
        return answer(Health())

    @api.get("/known")
    async def known(request):
        traces.known = known_fields()
        return answer(Health())

    @api.get("/fire")
    async def fire(request):
        raise RuntimeError

    app = new_app("bakery", settings, [], api)
    trace_requests(app, traces)
    return start(app)


def test_a_request_is_a_server_span_that_continues_its_clients_trace(api, traces):
    headers = {"traceparent": TRACE, "User-Agent": "tester"}
    api.ask("GET", "/bread/7?token=hunter2", headers=headers, described=False)
    inner, span = traces.spans
    assert (span.name, span.kind) == ("GET /bread/{saga_id}", SpanKind.SERVER)
    assert (span.context.trace_id, span.parent.span_id) == (1, 1)
    assert (inner.name, inner.parent.span_id) == ("database", span.context.span_id)
    assert dict(span.attributes) == {
        "http.request.method": "GET",
        "http.route": "/bread/{saga_id}",
        "http.response.status_code": 200,
        "url.path": "/bread/7",
        "url.scheme": "http",
        "client.address": "127.0.0.1",
        "server.address": "127.0.0.1",
        "server.port": api.client.port,
        "user_agent.original": "tester",
        "saga.id": "7",
    }


@pytest.mark.parametrize("given", [None, "none", f"00-{0:032x}-{1:016x}-01", f"ff{TRACE[2:]}"])
def test_an_invalid_trace_is_replaced(api, traces, given):
    api.ask("GET", "/bread/7", headers={"traceparent": given} if given else {}, described=False)
    span = traces.spans[-1]
    assert span.parent is None
    assert span.context.trace_id > 1


def test_an_error_of_ours_is_one_and_a_clients_is_none(api, traces):
    api.ask("GET", "/fire", described=False)
    api.ask("GET", "/none", described=False)
    fire, none = traces.spans
    assert (fire.attributes["error.type"], fire.status.status_code) == ("500", StatusCode.ERROR)
    assert (none.name, none.status.status_code) == ("GET", StatusCode.UNSET)
    assert "error.type" not in none.attributes


def test_method_that_nobody_knows_makes_no_name_of_a_span(api, traces):
    """There would be as many as somebody likes."""
    api.ask("BREW", "/bread/7", described=False)
    [span] = traces.spans
    assert span.name.partition(" ")[0] == "HTTP"
    assert span.attributes["http.request.method"] == "_OTHER"


def test_what_is_logged_of_a_request_tells_its_trace(api, traces):
    api.ask("GET", "/known", headers={"traceparent": TRACE}, described=False)
    [span] = traces.spans
    told = {name: traces.known[name] for name in ("trace_id", "span_id")}
    assert told == {"trace_id": f"{1:032x}", "span_id": f"{span.context.span_id:016x}"}


def test_health_is_asked_for_too_often_to_be_traced(api, traces):
    api.get("/health/live")
    assert traces.spans == ()


def test_the_first_command_of_a_saga_is_below_the_request_that_started_it(start, settings, traces):
    broker = Broker(place_order)
    app = orchestrator.make_app(settings, broker.send)
    trace_requests(app, traces)
    saga = start(app).post("/orders", WISH, headers={"traceparent": TRACE}).json
    send, request = traces.spans
    assert (request.name, send.name) == ("POST /orders", "send order.create")
    assert request.attributes["saga.id"] == send.attributes["saga.id"] == saga["saga_id"]
    assert send.parent.span_id == request.context.span_id
    [command] = broker.taken
    assert isinstance(command, Envelope)
    assert command.traceparent == f"00-{1:032x}-{send.context.span_id:016x}-01"
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", command.traceparent)
    assert trace.get_current_span() is trace.INVALID_SPAN
