"""What a saga can be found by."""

from contextlib import closing
from datetime import UTC, datetime

import pytest

from saga.runtime import Command, Event, Message, Saga, Step, saga_queries
from saga.runtime.database.connection import connect, transaction
from saga.runtime.database.schema import bind
from saga.runtime.envelope import Reply
from saga.runtime.saga_rows import SagaRow
from saga.runtime.saga_search import SearchRow
from saga.runtime.saga_store import TABLES, SagaStore, Start

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Begin(Message):
    goods: str | None


class Made(Event, topic="search.events"):
    pass


class Make(Command, topic="search.make", event=Made):
    pass


SAGA = Saga("search", start=Begin, steps=[Step(Make)], search=("goods",))


@pytest.mark.parametrize("goods", ["ü", "nul\0l", "x" * 1000])
def test_saga_is_found_by_any_text(database, goods):
    bind(database, TABLES)
    starts = [Start("1", Begin(goods=goods)), Start("2", Begin(goods=None))]
    SagaStore(database).start(SAGA, starts, NOW)
    [found] = saga_queries.page(database, 9, saga=SAGA, search={"goods": goods})
    assert found.id == "1"
    assert saga_queries.page(database, 9, saga=SAGA, search={"goods": "y\0"}) == []


NO = '{"code": "no/tea", "message": ""}'


def found(database, **search):
    asked = {f"failure.{name}": value for name, value in search.items()}
    return [state.id for state in saga_queries.page(database, 9, saga=SAGA, search=asked)]


def test_saga_is_found_by_the_step_that_failed_and_the_code(database):
    bind(database, TABLES)
    store = SagaStore(database)
    store.start(SAGA, [Start(name, Begin(goods="tea")) for name in "abcd"], NOW)
    with transaction(database):
        store.advance(SAGA, [Reply("a", "make", "do", "rejected", 1, NO)], NOW)
        store.advance(SAGA, [Reply("b", "make", "do", "done", 1, "{}")], NOW)
    store.cancel(SAGA, "c", NOW)
    assert found(database, step="make") == ["a", "c"]
    assert found(database, code="no/tea") == ["a"]
    assert found(database, code="cancelled") == ["c"]
    assert found(database, code="cancelled", step="make") == ["c"]
    assert found(database, code="cancelled", step="other") == []


def test_saga_that_fails_is_noted_once(database):
    """One whose row was edited may fail again."""
    bind(database, TABLES)
    store = SagaStore(database)
    store.start(SAGA, [Start("a", Begin(goods=None))], NOW)
    before = SagaRow.get().state
    for _ in range(2):
        store.cancel(SAGA, "a", NOW)
        assert SearchRow.select().count() == 3
        SagaRow.update(state=before, status="RUNNING").execute()


def test_saga_that_changes_its_status_while_it_is_looked_for_is_found(database, monkeypatch):
    """It has one then that no saga had a moment ago."""
    bind(database, TABLES)
    SagaStore(database).start(SAGA, [Start("1", Begin(goods="tea"))], NOW)
    monkeypatch.setattr(saga_queries, "_statuses", lambda *_: ["COMPLETED"])
    [found] = saga_queries.page(database, 9, saga=SAGA, search={"goods": "tea"})
    assert found.id == "1"


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
@pytest.mark.parametrize("saga", [SAGA, None])
def test_a_list_has_a_saga_that_changes_its_status_while_it_is_read(
    kind, saga, tmp_path, request, monkeypatch
):
    url = f"sqlite:///{tmp_path}/a.sqlite"
    if kind == "postgres":
        request.getfixturevalue("postgres")  # which empties it
        url = request.getfixturevalue("postgres_url")
    with closing(connect(url)) as database, closing(connect(url)) as other:
        bind(database, TABLES)
        store = SagaStore(other)
        bind(other, TABLES)
        store.start(SAGA, [Start("1", Begin(goods=None))], NOW)
        statuses = saga_queries._statuses

        def one_ends(*asked):
            found = statuses(*asked)
            store.cancel(SAGA, "1", NOW)
            return found

        monkeypatch.setattr(saga_queries, "_statuses", one_ends)
        [found] = saga_queries.page(database, 9, saga=saga)
        assert (found.id, found.status) == ("1", "COMPENSATED")
        monkeypatch.undo()
        # The next page is of a later moment.
        assert saga_queries.page(database, 9, status="RUNNING") == []
