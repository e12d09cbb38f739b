"""An adapter logs a line for each answer, and requests' lines carry their saga and their trace."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sanic import Blueprint, Sanic

from saga.runtime.log_fields import known_fields
from saga.runtime.settings import Settings
from saga.runtime.web import answer, in_thread, new_app
from saga.runtime.web.app import Health
from support.api import Api

TRACE = f"00-{'a' * 32}-{'b' * 16}-01"
known: list[dict[str, Any]] = []

Start = Callable[[Sanic[Any, Any]], Api]


def bakery(settings: Settings) -> Sanic[Any, Any]:
    api = Blueprint("bakery")

    @api.get("/bread/<saga_id:id>")
    async def bread(request, saga_id):
        await in_thread(request, lambda: known.append(known_fields()))
        return answer(Health())

    @api.get("/fire")
    async def fire(request):
        raise RuntimeError

    @api.get("/stream")
    async def stream(request):
        response = await request.respond()
        await response.send("a")
        await response.eof()

    return new_app("bakery", settings, [], api)


@pytest.fixture
def caplog(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    known.clear()
    with caplog.at_level(logging.INFO, "saga.access"):
        yield caplog


@pytest.fixture
def api(start: Start, settings: Settings) -> Api:
    return start(bakery(settings))


def lines(caplog: pytest.LogCaptureFixture) -> list[Any]:
    return [record for record in caplog.records if record.name == "saga.access"]


def test_a_line_tells_what_was_asked_and_answered_without_the_query(api, caplog):
    got = api.ask(
        "GET", "/bread/7?token=hunter2", headers={"X-Request-ID": "r" * 200}, described=False
    )
    [line] = lines(caplog)
    assert (line.method, line.path, line.status) == ("GET", "/bread/7", 200)
    assert (line.bytes, line.client, line.request_id) == (len(got.body), "127.0.0.1", "r" * 100)
    assert 0 < line.duration < 60
    told = line.getMessage()
    assert told.startswith(f'127.0.0.1 "GET /bread/7" 200 {len(got.body)} bytes, ')
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/none", 404), ("POST", "/fire", 405), ("GET", "/fire", 500)],
)
def test_problems_have_a_line_too(api, caplog, method, path, status):
    api.ask(method, path, described=False)
    [line] = lines(caplog)
    assert (line.path, line.status) == (path, status)


def test_a_request_that_can_not_be_read_has_a_line(api, caplog):
    api.send_bytes(b"GET /fire HTTP/1.1\r\nHost: x\r\na b: c\r\n\r\n")
    assert [line.status for line in lines(caplog)] == [400]


def test_a_head_has_no_bytes_and_those_of_a_stream_are_not_known(api, caplog):
    api.ask("HEAD", "/openapi.json", described=False)
    api.ask("GET", "/stream", described=False)
    head, stream = lines(caplog)
    assert head.bytes == 0
    assert not hasattr(stream, "bytes")
    assert "200 ? bytes" in stream.getMessage()


def test_health_is_asked_for_too_often_to_be_told(api, caplog):
    api.get("/health/live")
    assert lines(caplog) == []
    caplog.set_level(logging.DEBUG, "saga.access")
    api.get("/health/live")
    assert len(lines(caplog)) == 1


def test_what_is_logged_on_behalf_of_a_request_carries_its_saga_and_its_trace(api):
    api.ask("GET", "/bread/7", headers={"traceparent": TRACE}, described=False)
    api.ask("GET", "/bread/8", headers={"traceparent": "none"}, described=False)
    first, second = known
    assert first == {"saga_id": "7", "trace_id": "a" * 32, "span_id": "b" * 16}
    assert second == {"saga_id": "8"}


def test_it_can_be_turned_off(start, settings, caplog):
    api = start(bakery(settings.model_copy(update={"saga_access_log": False})))
    api.ask("GET", "/bread/7", described=False)
    assert lines(caplog) == []
