"""A client that reads: it finds what was accepted, and notices answers that don't fit together."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from saga.runtime.errors import SagaError
from saga.runtime.testing.request import Request
from saga.stacks import reading
from saga.stacks.calls import Answer
from saga.stacks.reading import ReadingClient

WISH = {"user_id": 1, "product_id": 2, "quantity": 3}
ORDER = {**WISH, "saga_id": "s1", "status": "PENDING"}
Told = tuple[int, Any] | None


def saga(saga_id: str = "s1", status: str = "RUNNING", **changes: int) -> dict[str, Any]:
    return {"saga_id": saga_id, "order_id": "o", "status": status, "input": WISH | changes}


class Calls:
    """Calls that a test answers: `told` by path, None where they were stopped meanwhile."""

    def __init__(self, told: dict[str, Told], heard: list[tuple[str, Any]]) -> None:
        self.told = told
        self.heard = heard
        self.links: dict[str, str] = {}

    def at(self, address: tuple[str, int]) -> "Calls":
        assert address == ("order", 80)
        return Calls({f"/order{path}": told for path, told in self.told.items()}, self.heard)

    def answers(
        self,
        method: str,
        path: str,
        promised: Sequence[int],
        body: str | None = None,
        headers: Mapping[str, str] = {},
    ) -> Iterator[Answer]:
        """Accept an order, which one who waits is told the end of, or a cancellation."""
        self.heard.append((f"{method} {path}", headers.get("Prefer")))
        status = "COMPENSATING" if method == "DELETE" else "RUNNING"
        code, status = (200, "COMPLETED") if "Prefer" in headers else (202, status)
        yield Answer(code, json.dumps(saga(status=status)).encode(), {"Location": "/sagas/s1"})

    def last(
        self,
        method: str,
        path: str,
        promised: Sequence[int],
        headers: Mapping[str, str] = {},
    ) -> Answer | None:
        self.heard.append((f"{method} {path}", headers.get("Prefer")))
        if (told := self.told[path]) is None:
            return None
        assert told[0] in promised
        link = {"Link": f'<{self.links[path]}>; rel="next"'} if path in self.links else {}
        return Answer(told[0], json.dumps(told[1]).encode(), link)


class Chance:
    """Luck that a test decides: what is read, in which way, and whether to wait."""

    def __init__(self, way: str, *, waits: bool) -> None:
        self.way = way
        self.draws = 0.0 if waits else reading.WAITS

    def random(self) -> float:
        return self.draws

    def choice(self, ways: Sequence[Callable[..., None]]) -> Callable[..., None]:
        return next(way for way in ways if way.__name__ == self.way)


FIND, PAGES = "/sagas?order_id=o", f"/sagas?user_id=1&limit={reading.LIMIT}"
SHOW = "/sagas/s1"


@pytest.fixture
def look() -> Callable[..., Calls]:
    """Let a client that has placed an order look for it, with these answers."""

    def look(way: str, told: dict[str, Told], links: dict[str, str] | None = None) -> Calls:
        calls = Calls(told, [])
        calls.links = links or {}
        client = ReadingClient(calls, ("order", 80), Chance(way, waits=False))  # type: ignore[arg-type]
        client._orders = calls  # type: ignore[assignment]
        client.place(Request(dict(WISH)))
        return calls

    return look


def test_saga_is_found_by_its_order(look: Callable[..., Calls]) -> None:
    calls = look("_find", {SHOW: (200, saga()), FIND: (200, [saga(status="COMPLETED")])})
    assert calls.heard == [("POST /orders", None), (f"GET {SHOW}", None), (f"GET {FIND}", None)]


def test_what_was_read_is_counted() -> None:
    calls = Calls({SHOW: (200, saga()), FIND: (200, [saga()])}, [])
    client = ReadingClient(calls, ("order", 80), Chance("_find", waits=False))  # type: ignore[arg-type]
    request = Request(dict(WISH))
    client.place(request)
    assert request.reads == 2


@pytest.mark.parametrize("found", [[], [saga("s2")], [saga(), saga("s2")], [saga(), saga()]])
def test_saga_that_is_not_found_by_its_order_is_told(
    look: Callable[..., Calls], found: list[Any]
) -> None:
    with pytest.raises(SagaError, match="s1 is found by its order among"):
        look("_find", {SHOW: (200, saga()), FIND: (200, found)})


def test_saga_is_on_one_of_the_pages(look: Callable[..., Calls]) -> None:
    told: dict[str, Told] = {
        SHOW: (200, saga()),
        PAGES: (200, [saga("s0", user_id=9)]),
        "/next": (200, [saga(status="COMPENSATED"), saga("s2")]),
    }
    calls = look("_turn_pages", told, {PAGES: "/next"})
    assert [path for path, _ in calls.heard][2:] == [f"GET {PAGES}", "GET /next"]


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [
        (["s0"], ["s2"], "s1 is not among its user's sagas"),
        (["s0", "s1"], ["s1"], "the pages of a user's sagas show"),
        (["s1"], ["s0"], "the pages of a user's sagas show"),
    ],
)
def test_pages_that_miss_or_repeat_are_told(
    look: Callable[..., Calls], first: list[str], second: list[str], text: str
) -> None:
    told: dict[str, Told] = {
        SHOW: (200, saga()),
        PAGES: (200, [saga(one) for one in first]),
        "/next": (200, [saga(one) for one in second]),
    }
    with pytest.raises(SagaError, match=text):
        look("_turn_pages", told, {PAGES: "/next"})


@pytest.mark.parametrize("path", [FIND, PAGES])
def test_list_that_tells_of_another_saga_under_the_same_id_is_told(
    look: Callable[..., Calls], path: str
) -> None:
    way = "_find" if path == FIND else "_turn_pages"
    with pytest.raises(SagaError, match=r"s1 is for .*, and was told"):
        look(way, {SHOW: (200, saga()), path: (200, [saga(quantity=4)])})


@pytest.mark.parametrize("shown", [saga("s2"), saga(quantity=4)])
def test_another_saga_is_told(look: Callable[..., Calls], shown: Any) -> None:
    with pytest.raises(SagaError, match=r"s1 is for .*, and was told"):
        look("_find", {SHOW: (200, shown)})


@pytest.mark.parametrize(
    ("status", "order"),
    [
        ("RUNNING", (404, {})),
        ("RUNNING", (200, ORDER)),
        ("COMPLETED", (200, {**ORDER, "status": "COMPLETED"})),
        ("COMPENSATED", (200, {**ORDER, "status": "CANCELLED"})),
        ("COMPENSATED", (404, {})),
        ("COMPLETED", None),
    ],
)
def test_order_is_as_its_saga_says(look: Callable[..., Calls], status: str, order: Told) -> None:
    calls = look("_order", {SHOW: (200, saga(status=status)), "/orders/o": order})
    assert calls.heard[-1] == ("GET /orders/o", None)


@pytest.mark.parametrize(
    ("status", "order", "text"),
    [
        ("COMPLETED", (404, {}), "is COMPLETED, and its order {}"),
        ("COMPLETED", (200, ORDER), "is COMPLETED, and its order .*PENDING"),
        ("COMPENSATED", (200, ORDER), "is COMPENSATED, and its order .*PENDING"),
        ("RUNNING", (200, {**ORDER, "quantity": 4}), "the order is .*'quantity': 4"),
        ("RUNNING", (200, {**ORDER, "saga_id": "s2"}), "the order is .*'saga_id': 's2'"),
    ],
)
def test_order_that_is_not_as_its_saga_says_is_told(
    look: Callable[..., Calls], status: str, order: Told, text: str
) -> None:
    with pytest.raises(SagaError, match=text):
        look("_order", {SHOW: (200, saga(status=status)), "/orders/o": order})


def test_saga_that_can_not_be_read_says_nothing(look: Callable[..., Calls]) -> None:
    unreadable = {"saga_id": "s1", "status": "UNREADABLE", "input": {}}
    calls = look("_find", {SHOW: (200, unreadable)})
    assert calls.heard[-1] == (f"GET {SHOW}", None)
    look("_find", {SHOW: (200, saga()), FIND: (200, [unreadable])})


def test_what_was_stopped_meanwhile_is_not_judged(look: Callable[..., Calls]) -> None:
    look("_find", {SHOW: None})
    look("_find", {SHOW: (200, saga()), FIND: None})
    look("_turn_pages", {SHOW: (200, saga()), PAGES: (200, [saga()]), "/2": None}, {PAGES: "/2"})


def test_client_waits_for_some_ends_and_hears_of_them() -> None:
    calls = Calls({SHOW: (200, saga(status="COMPLETED")), FIND: (200, [saga()])}, [])
    client = ReadingClient(calls, ("order", 80), Chance("_find", waits=True))  # type: ignore[arg-type]
    with pytest.raises(SagaError, match="saga s1 was COMPLETED, and is RUNNING"):
        client.place(Request(dict(WISH)))
    assert [wait for _, wait in calls.heard] == ["wait=1", "wait=1", None]


def test_client_looks_what_has_come_of_a_cancellation() -> None:
    calls = Calls({SHOW: (200, saga(status="COMPLETED"))}, [])
    client = ReadingClient(calls, ("order", 80), Chance("_find", waits=False))  # type: ignore[arg-type]
    request = Request(dict(WISH), told=["s1"])
    with pytest.raises(SagaError, match="saga s1 was COMPENSATING, and is COMPLETED"):
        client.cancel(request)
    assert [path for path, _ in calls.heard] == [f"DELETE {SHOW}", f"GET {SHOW}"]


def test_client_looks_for_some_orders_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LOOKS", 0.0)
    calls = Calls({}, [])
    client = ReadingClient(calls, ("order", 80), Chance("_find", waits=False))  # type: ignore[arg-type]
    client.place(Request(dict(WISH)))
    assert [path for path, _ in calls.heard] == ["POST /orders"]
