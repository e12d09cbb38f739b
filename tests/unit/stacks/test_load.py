"""The load's clients: what they repeat, what they remember, and what ends them."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from saga.runtime.errors import SagaError
from saga.runtime.testing.request import Request
from saga.stacks import calls, load
from saga.stacks.calls import Calls
from saga.stacks.load import Client, Load

Reply = tuple[int, dict[str, Any]] | None  # a status and a body, or a lost connection
WISH = {"user_id": 1, "product_id": 2, "quantity": 3}


class Api(ThreadingHTTPServer):
    """An API whose answers a test writes; `heard` are the requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[Reply] = []
        self.location = ""  # of a saga, where it is not what it has to be
        self.heard: list[tuple[str, str, str | None, dict[str, int]]] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        api = self.server
        assert isinstance(api, Api)
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        key = self.headers["Idempotency-Key"]
        api.heard.append((self.command, self.path, key, json.loads(body or b"{}")))
        reply = api.answers.pop(0)
        if reply is None:
            self.close_connection = True
            return
        text = json.dumps(reply[1]).encode()
        self.send_response(reply[0])
        self.send_header("Content-Length", str(len(text)))
        self.send_header("Retry-After", "1")
        self.send_header("Location", api.location or f"/sagas/{reply[1].get('saga_id')}")
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_DELETE = answer  # noqa: N815 - http.server's names

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def place(
    api: Api, until: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Load]:
    """Place orders of one client, with these answers, until all is answered."""
    monkeypatch.setattr(load, "CANCEL_AFTER", (0.001, 0.002))

    def place(*answers: Reply, orders: int = 1, cancels: float = 0.0) -> Load:
        api.answers = list(answers)
        wishes = [Request(dict(WISH), key=f"k{n}") for n in range(orders)]
        with Load(("127.0.0.1", api.server_port), wishes, clients=1, cancels=cancels) as placed:
            until(lambda: not placed.busy, "all is answered")
        return placed

    return place


def saga(saga_id: str = "s1", status: str = "RUNNING", **changes: int) -> Reply:
    return 202, {
        "saga_id": saga_id,
        "status": status,
        "input": {"order_id": "o", **WISH, **changes},
    }


ACCEPTED = saga()
ENDED: Reply = (409, {"code": "saga_ended"})
AWAY: Reply = (503, {})


def test_answer_of_a_saga_that_can_not_be_read_is_taken(place: Callable[..., Load]) -> None:
    [request] = place((202, {"saga_id": "s1", "status": "UNREADABLE", "input": {}})).requests
    assert (request.told, request.heard) == (["s1"], None)


def test_accepted_order_is_remembered(place: Callable[..., Load], api: Api) -> None:
    placed = place(ACCEPTED, saga("s2"), orders=2)
    assert [request.told for request in placed.requests] == [["s1"], ["s2"]]
    assert [request.tries for request in placed.requests] == [1, 1]
    assert api.heard == [("POST", "/orders", "k0", WISH), ("POST", "/orders", "k1", WISH)]
    assert (placed.accepted, placed.refused) == (2, [])


@pytest.mark.parametrize("first", [AWAY, None])
def test_what_has_no_answer_or_is_away_is_repeated_with_its_key(
    place: Callable[..., Load], api: Api, first: Reply
) -> None:
    placed = place(first, ACCEPTED)
    assert (placed.requests[0].told, placed.requests[0].tries) == (["s1"], 2)
    assert api.heard == [("POST", "/orders", "k0", WISH)] * 2


def test_answer_that_says_to_come_again_is_kept_with_its_headers(
    place: Callable[..., Load],
) -> None:
    [refused] = place(AWAY, ACCEPTED).refused
    assert (refused.status, refused.headers["Retry-After"]) == (503, "1")


@pytest.mark.parametrize("status", [200, 201, 400, 404, 409, 422, 429, 500, 502, 504])
def test_any_other_answer_ends_the_load_with_it(place: Callable[..., Load], status: int) -> None:
    with pytest.raises(SagaError, match=f"POST /orders answered {status}: .*why"):
        place((status, {"detail": "why"}), ACCEPTED, orders=2)


@pytest.mark.parametrize("status", ["COMPENSATING", "COMPENSATED"])
def test_accepted_cancellation_is_remembered(
    place: Callable[..., Load], api: Api, status: str
) -> None:
    placed = place(ACCEPTED, None, saga(status=status), cancels=1.0)
    assert placed.requests[0].cancel == "accepted"
    assert api.heard[1:] == [("DELETE", "/sagas/s1", None, {})] * 2


def test_saga_that_has_ended_can_not_be_cancelled(place: Callable[..., Load], api: Api) -> None:
    placed = place(ACCEPTED, ENDED, (200, {"status": "COMPLETED"}), cancels=1.0)
    assert placed.requests[0].cancel == "asked"
    assert [(method, path) for method, path, *_ in api.heard[1:]] == [
        ("DELETE", "/sagas/s1"),
        ("GET", "/sagas/s1"),
    ]


def test_cancellation_refused_of_a_saga_that_runs_ends_the_load(place: Callable[..., Load]) -> None:
    with pytest.raises(SagaError, match="s1 can't be cancelled, and is RUNNING"):
        place(ACCEPTED, ENDED, (200, {"status": "RUNNING"}), cancels=1.0)


def test_saga_that_cant_be_read_need_not_have_ended(place: Callable[..., Load], api: Api) -> None:
    placed = place(ACCEPTED, (409, {"code": "saga_unreadable"}), cancels=1.0)
    assert placed.requests[0].cancel == "asked"
    assert len(api.heard) == 2


def test_cancellation_refused_for_another_reason_ends_the_load(place: Callable[..., Load]) -> None:
    with pytest.raises(SagaError, match="s1 can't be cancelled: key_reused"):
        place(ACCEPTED, (409, {"code": "key_reused"}), cancels=1.0)


def test_client_without_an_answer_gives_up_at_last(
    place: Callable[..., Load], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "GIVE_UP", 0.0)
    with pytest.raises(SagaError, match="POST /orders has had no answer for 0 s"):
        place(AWAY, AWAY)


@pytest.fixture
def patient(api: Api) -> Iterator[Callable[..., Request]]:
    """Place an order of a client that waits for its end, with one answer."""
    calls = Calls(("127.0.0.1", api.server_port), threading.Event(), [])

    def patient(reply: Reply) -> Request:
        api.answers = [reply]
        request = Request(dict(WISH))
        Client(calls).place(request, wait=1)
        return request

    yield patient
    calls.close()


def ended(status: str, code: int = 200) -> Reply:
    _, body = saga(status=status)
    return code, body


@pytest.mark.parametrize(
    "reply", [ended("COMPLETED"), ended("COMPENSATED"), ended("FAILED"), ACCEPTED]
)
def test_client_that_waits_hears_of_the_end(patient: Callable[..., Request], reply: Reply) -> None:
    request = patient(reply)
    assert reply is not None
    assert (request.told, request.heard) == (["s1"], reply[1]["status"])


@pytest.mark.parametrize("reply", [ended("RUNNING"), ended("COMPLETED", 202)])
def test_answer_to_one_who_waits_that_contradicts_itself_is_told(
    patient: Callable[..., Request], reply: Reply
) -> None:
    with pytest.raises(SagaError, match="to wait=1, and told"):
        patient(reply)


def test_what_was_heard_is_remembered(place: Callable[..., Load]) -> None:
    assert place(ACCEPTED).requests[0].heard == "RUNNING"
    assert place(ACCEPTED, saga(status="COMPENSATING"), cancels=1.0).requests[0].heard == (
        "COMPENSATING"
    )
    refused = place(ACCEPTED, ENDED, (200, {"status": "COMPLETED"}), cancels=1.0)
    assert refused.requests[0].heard == "COMPLETED"


def test_saga_that_ends_another_way_than_was_told_ends_the_load(
    place: Callable[..., Load],
) -> None:
    with pytest.raises(SagaError, match="saga s1 was COMPLETED, and is COMPENSATED"):
        place(saga(status="COMPLETED"), ENDED, (200, {"status": "COMPENSATED"}), cancels=1.0)


def test_answer_about_another_order_ends_the_load(place: Callable[..., Load]) -> None:
    with pytest.raises(SagaError, match=r"'quantity': 3}, and was told .*'quantity': 4"):
        place(saga(quantity=4))


@pytest.mark.parametrize("location", ["/sagas/s2", "/orders/s1"])
def test_answer_that_is_found_elsewhere_ends_the_load(
    place: Callable[..., Load], api: Api, location: str
) -> None:
    api.location = location
    with pytest.raises(SagaError, match=f"to be found at {location}"):
        place(ACCEPTED)


@pytest.mark.parametrize(
    "answer", [saga(), saga("s2", "COMPENSATING"), saga(status="COMPLETED"), saga(status="FAILED")]
)
def test_cancellation_that_did_something_else_ends_the_load(
    place: Callable[..., Load], answer: Reply
) -> None:
    with pytest.raises(SagaError, match="cancelled s1, and was told"):
        place(ACCEPTED, answer, cancels=1.0)


def test_cancellation_that_is_refused_ends_the_load(place: Callable[..., Load]) -> None:
    with pytest.raises(SagaError, match="DELETE /sagas/s1 answered 404"):
        place(ACCEPTED, (404, {}), cancels=1.0)


def test_stopped_load_repeats_nothing_more(api: Api, until: Callable[..., object]) -> None:
    api.answers = [AWAY] * 1000
    with Load(("127.0.0.1", api.server_port), [Request(dict(WISH), key="k")], clients=1) as placed:
        until(lambda: placed.refused, "an order is refused")
    assert placed.requests[0].told == []
    assert placed.accepted == 0
