"""What sagas cost among very many that have ended: each statement reads from an index, in order."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import product
from typing import Any, get_args

import peewee
import pytest

from saga.runtime import Command, Event, Message, Saga, Step, saga_guard, saga_queries
from saga.runtime.database.connection import connect, transaction
from saga.runtime.database.schema import bind
from saga.runtime.envelope import Outcome, Reply
from saga.runtime.saga_rows import SagaRow
from saga.runtime.saga_search import FAILED_CODE, FAILED_STEP, Between
from saga.runtime.saga_state import SagaState, SagaStatus
from saga.runtime.saga_store import TABLES, SagaStore, Start
from support.plans import count_rows, recorded, slow_plans

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(seconds=20)
COUNT = 2000


class Begin(Message):
    goods: str
    user_id: int


class Made(Event, topic="plans.events"):
    pass


class Make(Command, topic="plans.make", event=Made):
    pass


SAGA = Saga("plans", start=Begin, steps=[Step(Make)], search=("goods", "user_id"))
OTHER = Saga("others", start=Begin, steps=[Step(Make)])
LISTS: dict[str, dict[str, Any]] = {
    "all": {},
    "of one declaration": {"saga": SAGA},
    "found by one value": {"saga": SAGA, "search": {"user_id": 3}},
    "found by two values": {"saga": SAGA, "search": {"user_id": 3, "goods": "17"}},
}


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def new_database(request: pytest.FixtureRequest) -> Iterator[Callable[[], peewee.Database]]:
    """Connect to databases that are empty, on SQLite and on PostgreSQL."""
    with ExitStack() as stack:

        def new() -> peewee.Database:
            url = "sqlite://"
            if request.param == "postgres":
                server = request.getfixturevalue("postgres_server")
                url = server.url_of_services(["plans"]).format(service="plans")
            return stack.enter_context(closing(connect(url)))

        yield new


def run(store: SagaStore, names: list[str], outcome: Outcome, data: str) -> None:
    """Let sagas of these ids end as the reply to their step tells."""
    starts = [Start(n, Begin(goods=n, user_id=int(n[1:]) % 20), f"key {n}") for n in names]
    store.start(SAGA, starts, NOW)
    with transaction(store.database):
        store.advance(SAGA, [Reply(n, "make", "do", outcome, 1, data) for n in names], NOW)
    count_rows(store.database)


def of_ended(database: peewee.Database, step: int = 1) -> SagaStore:
    """Return a store of sagas that have ended, as many as make an index worth its while.

    Of `step` of them, there is one.
    """
    bind(database, TABLES)
    store = SagaStore(database)
    run(store, [f"{number:05}" for number in range(0, COUNT, step)], "done", "{}")
    return store


def and_of_failed(store: SagaStore, step: int = 1) -> SagaStore:
    """Let there be as many sagas more, that have failed."""
    refused = '{"code": "no_tea", "message": "none left"}'
    run(store, [f"f{number:04}" for number in range(0, COUNT, step)], "rejected", refused)
    return store


@contextmanager
def as_it_was(store: SagaStore) -> Iterator[SagaStore]:
    """Take back what is done in the block: to fill a store takes longer than most tests of one."""
    store.database.bind(TABLES)
    with store.database.atomic() as everything:
        yield store
        everything.rollback()


@pytest.fixture(scope="module")
def ended(new_database: Callable[[], peewee.Database]) -> SagaStore:
    return of_ended(new_database())


@pytest.fixture(scope="module")
def ended_or_failed(new_database: Callable[[], peewee.Database]) -> SagaStore:
    return and_of_failed(of_ended(new_database()))


@pytest.fixture(scope="module")
def fewer(new_database: Callable[[], peewee.Database]) -> SagaStore:
    return and_of_failed(of_ended(new_database(), 7), 7)


@pytest.fixture
def few_looked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look through as few of the sagas as else of a million."""
    monkeypatch.setattr(saga_queries, "LOOKED_THROUGH", 20)


@pytest.fixture
def store(ended: SagaStore, few_looked_through: None) -> Iterator[SagaStore]:
    with as_it_was(ended):
        yield ended


@pytest.fixture
def failed(ended_or_failed: SagaStore, few_looked_through: None) -> Iterator[SagaStore]:
    with as_it_was(ended_or_failed):
        yield ended_or_failed


def test_page_is_read_in_order_whatever_is_asked_for(store: SagaStore) -> None:
    slow = {}
    for (name, asked), status, newest in product(
        LISTS.items(), [None, *get_args(SagaStatus)], [False, True]
    ):
        page = partial(saga_queries.page, store.database, 9, "00100", status, newest=newest)
        slow[name, status, newest] = slow_plans(store.database, partial(page, **asked))
    assert {asked: steps for asked, steps in slow.items() if steps} == {}


FAILURES: dict[str, dict[str, Any]] = {
    "step": {"search": {FAILED_STEP: "make"}},
    "code": {"search": {FAILED_CODE: "no_tea"}},
    "step and code": {"search": {FAILED_CODE: "no_tea", FAILED_STEP: "make"}},
    "field, step and code": {
        "search": {"user_id": 3, FAILED_CODE: "no_tea", FAILED_STEP: "make"},
    },
}
PARTS: dict[str, Between] = {
    "all": (None, None),
    "after": ("00200", None),
    "before": (None, "f0900"),
    "between": ("00200", "f0900"),
}


def test_page_of_failures_and_of_a_time_is_read_in_order(failed: SagaStore) -> None:
    slow = {}
    for (name, asked), (part, ids), status, newest in product(
        [*FAILURES.items(), ("nothing", {})], PARTS.items(), [None, "COMPENSATED"], [False, True]
    ):
        asked = {**asked, "newest": newest, "saga": SAGA, "ids": ids}
        page = partial(saga_queries.page, failed.database, 9, "f0700", status, **asked)
        slow[name, part, status, newest] = slow_plans(failed.database, page)
    assert {asked: steps for asked, steps in slow.items() if steps} == {}


@pytest.mark.parametrize("newest", [False, True])
@pytest.mark.parametrize("asked", [*FAILURES.values(), {"search": {"user_id": 3}}, {}])
def test_page_holds_the_sagas_between_two_ids(
    fewer: SagaStore, asked: dict[str, Any], newest: bool
) -> None:
    fewer.database.bind(TABLES)
    asked = {**asked, "newest": newest, "saga": SAGA}
    page: Callable[..., list[SagaState]] = partial(saga_queries.page, fewer.database, **asked)
    ids = [state.id for state in page(2 * COUNT)]
    assert ids == sorted(ids, reverse=newest)
    assert len(ids) >= COUNT // 7 // 20
    for above, below in PARTS.values():
        found = [state.id for state in page(2 * COUNT, ids=(above, below))]
        assert found == [i for i in ids if (above or "") < i < (below or "g")]
        beyond = [state.id for state in page(2 * COUNT, found[3], ids=(above, below))]
        assert beyond == found[4:]


@pytest.mark.parametrize("newest", [False, True])
def test_look_for_a_status_among_what_is_found_goes_on_behind_short_pages(
    failed: SagaStore, monkeypatch: pytest.MonkeyPatch, newest: bool
) -> None:
    monkeypatch.setattr(saga_queries, "LOOKED_THROUGH", 300)
    rare = ["f0003", "f0004", "f1003"]
    SagaRow.update(status="RUNNING").where(SagaRow.id.in_(rare)).execute()
    for saga_id in rare:
        text = SagaRow.get_by_id(saga_id).state.replace("COMPENSATED", "RUNNING")
        SagaRow.update(state=text).where(SagaRow.id == saga_id).execute()
    asked: dict[str, Any] = {"saga": SAGA, "search": {FAILED_CODE: "no_tea"}, "newest": newest}
    found, after, looks = [], None, 0
    while looks == 0 or after is not None:
        states, after = saga_queries.look(failed.database, 1, after, "RUNNING", **asked)
        found += [state.id for state in states]
        looks += 1
    assert found == sorted(rare, reverse=newest)
    assert looks <= 1 + COUNT // 300 + len(rare)
    page = saga_queries.page(failed.database, 9, status="RUNNING", **asked)
    assert [state.id for state in page] == found


@pytest.mark.parametrize("asked", [{}, {"saga": SAGA}, LISTS["found by one value"]])
def test_no_saga_that_has_ended_well_is_read_to_find_what_cant_be(
    store: SagaStore, asked: dict[str, Any]
) -> None:
    with recorded(store.database) as statements:
        saga_queries.page(store.database, 9, status="UNREADABLE", **asked)
    assert statements
    assert not [sql for sql, _ in statements if '"state"' in sql]


@pytest.fixture
def rows_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note the ids of the sagas whose rows are read."""
    ids: list[str] = []
    read = saga_guard.read

    def note(saga_id: str, *row: Any) -> SagaState:
        ids.append(saga_id)
        return read(saga_id, *row)

    monkeypatch.setattr(saga_guard, "read", note)
    return ids


@pytest.mark.parametrize("asked", LISTS.values(), ids=LISTS)
@pytest.mark.parametrize("newest", [False, True])
@pytest.mark.parametrize("limit", [1, 100])
def test_look_for_what_cant_be_read_reads_a_bounded_number_of_rows(
    store: SagaStore, rows_read: list[str], asked: dict[str, Any], newest: bool, limit: int
) -> None:
    SagaRow.update(status="FAILED").execute()
    SagaRow.update(state="").where(SagaRow.id.in_(["00003", "01003"])).execute()
    look = partial(saga_queries.look, store.database, limit, status="UNREADABLE", newest=newest)
    found, after, looks = [], None, 0
    while looks == 0 or after is not None:
        rows_read.clear()
        states, after = look(after, **asked)
        assert len(states) <= limit
        assert len(rows_read) <= saga_queries.READ_AT_ONCE
        found += [state.id for state in states]
        looks += 1
    there = [i for i in ("00003", "01003") if asked.get("search", {}).get("goods", i) == i]
    assert found == sorted(there, reverse=newest)
    assert looks <= 1 + COUNT // saga_queries.READ_AT_ONCE + len(found)


def test_look_for_a_status_reads_a_bounded_number_of_rows_that_lost_theirs(
    store: SagaStore, rows_read: list[str]
) -> None:
    SagaRow.update(status="FAILED", state="").execute()
    with recorded(store.database) as statements:
        found, after = saga_queries.look(store.database, 1, status="FAILED", saga=SAGA)
    assert (found, after) == ([], f"{saga_queries.READ_AT_ONCE:05}")
    assert len(rows_read) == 1 + saga_queries.READ_AT_ONCE
    assert len(statements) <= 10


def test_page_of_what_cant_be_read_is_filled_from_all_there_is(store: SagaStore) -> None:
    SagaRow.update(status="FAILED").execute()
    SagaRow.update(state="").where(SagaRow.id == f"{COUNT - 1:05}").execute()
    [found] = saga_queries.page(store.database, 9, status="UNREADABLE")
    assert found.id == f"{COUNT - 1:05}"


def test_list_of_all_is_read_once_and_no_further(store: SagaStore, rows_read: list[str]) -> None:
    found, after = saga_queries.look(store.database, 9, "00100")
    assert ([state.id for state in found], after) == (rows_read, "00109")
    assert saga_queries.look(store.database, 9, f"{COUNT - 10:05}")[1] is None


REPLY = Reply("running", "make", "do", "failed", 1, "{}")
STEPS: dict[str, Callable[[SagaStore], object]] = {
    "start": lambda store: store.start(SAGA, [Start("x", Begin(goods="", user_id=1), "k")], NOW),
    "advance": lambda store: store.advance(
        SAGA, [Reply("00001", "make", "do", "done", 1, "")], NOW
    ),
    "due": lambda store: store.due(SAGA, LATER),
    "sweep": lambda store: store.sweep(SAGA, LATER),
    "find": lambda store: saga_queries.find(store.database, "00001"),
    "ended": lambda store: saga_queries.ended(store.database, ["00001", "00002"]),
}


def test_step_costs_nothing_that_grows(store: SagaStore) -> None:
    store.start(SAGA, [Start("running", Begin(goods="", user_id=1))], NOW)
    with transaction(store.database):
        slow = {name: slow_plans(store.database, partial(STEPS[name], store)) for name in STEPS}
    assert {name: steps for name, steps in slow.items() if steps} == {}


def test_pages_of_two_declarations_are_put_together(database: peewee.Database) -> None:
    bind(database, TABLES)
    store = SagaStore(database)
    for number in range(6):
        saga = (SAGA, OTHER)[number % 2]
        store.start(saga, [Start(str(number), Begin(goods="", user_id=1))], NOW)
    found = saga_queries.page(database, 3, after="1")
    assert [(state.id, state.name) for state in found] == [
        ("2", "plans"),
        ("3", "others"),
        ("4", "plans"),
    ]
    newest = saga_queries.page(database, 3, newest=True)
    assert [state.id for state in newest] == ["5", "4", "3"]
