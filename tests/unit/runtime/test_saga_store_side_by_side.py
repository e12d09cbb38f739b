"""Two transitions of one saga at the same time, on PostgreSQL: SQLite has one writer anyway."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import peewee
import pytest

from saga.runtime import (
    Command,
    Event,
    Message,
    Saga,
    Step,
    saga_queries,
    saga_rows,
    saga_store,
    unsent,
)
from saga.runtime.database.connection import connect, transaction
from saga.runtime.database.schema import bind
from saga.runtime.envelope import Envelope, Reply
from saga.runtime.errors import Conflict
from saga.runtime.saga_history import histories
from saga.runtime.saga_store import TABLES, SagaStore, Start
from support.waiting import DEADLINE, wait_until

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(seconds=20)
T = TypeVar("T")


class Begin(Message):
    pass


class Happened(Event, topic="rows.events"):
    pass


class Make(Command, topic="rows.make", event=Happened):
    pass


class Unmake(Command, topic="rows.unmake", event=Happened):
    pass


class Finish(Command, topic="rows.finish", event=Happened):
    pass


SAGA = Saga("rows", start=Begin, steps=[Step(Make, undo=Unmake), Step(Finish)])
MADE = Reply("a", "make", "do", "done", 1, "{}")
FINISHED = Reply("a", "finish", "do", "done", 1, "{}")


@pytest.fixture
def store(postgres: peewee.Database) -> SagaStore:
    """A saga `a` in flight, and a connection that gives up rather than hang."""
    bind(postgres, TABLES)
    postgres.execute_sql(f"SET lock_timeout = '{DEADLINE:g}s'")
    store = SagaStore(postgres)
    store.start(SAGA, [Start("a", Begin()), Start("b", Begin())], NOW)
    return store


@pytest.fixture
def other(postgres_url: str, store: SagaStore) -> Iterator[SagaStore]:
    """The same sagas, over another connection."""
    database = connect(postgres_url, shared=True)
    database.execute_sql(f"SET lock_timeout = '{DEADLINE:g}s'")
    yield SagaStore(database)
    database.close()


def one_after_the_other(
    store: SagaStore, first: Callable[[], T], second: Callable[[], object]
) -> tuple[T, Any]:
    """Begin `second` before the transaction of `first` ends; return what came of both."""
    with ThreadPoolExecutor(1) as thread:
        with transaction(store.database):
            result = first()
            later = thread.submit(second)
            wait_until(lambda: waits(store.database) or later.done(), "one waits for the other")
            assert not later.done()
        return result, later.result(DEADLINE)


def waits(database: peewee.Database) -> bool:
    """Tell whether a connection waits for a lock of another one."""
    return bool(database.execute_sql("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone())


def advance(store: SagaStore, reply: Reply) -> list[str]:
    with transaction(store.database):
        return sent(store.advance(SAGA, [reply], NOW))


def sweep(store: SagaStore) -> list[str]:
    with transaction(store.database):
        commands = store.sweep(SAGA, LATER)
        unsent.note_sent(store.database, [command.key for command in commands], LATER)
    return sent(commands)


def note_sent(store: SagaStore) -> None:
    with transaction(store.database):
        unsent.note_sent(store.database, ["b", "a"], LATER)


def sent(commands: list[Envelope]) -> list[str]:
    return [command.id for command in commands]


def steps(store: SagaStore) -> list[str]:
    return [step.status for step in saga_queries.find(store.database, "a").steps]


def told(store: SagaStore) -> list[str]:
    state = saga_queries.find(store.database, "a")
    [moments] = histories(store.database, [state]).values()
    return [", ".join(map(str, moment.steps)) for moment in moments]


def test_cancel_waits_for_a_reply_and_sees_what_it_did(store: SagaStore, other: SagaStore) -> None:
    replied, (_, commands) = one_after_the_other(
        store, lambda: advance(store, MADE), lambda: other.cancel(SAGA, "a", NOW)
    )
    assert (replied, sent(commands)) == (["a/finish/do"], ["a/make/undo"])
    assert steps(store) == ["UNDOING", "FAILED"]
    assert told(store)[1:] == [
        "make DONE, finish RUNNING",
        "finish FAILED (cancelled), make UNDOING",
    ]


def test_reply_waits_for_a_cancel_and_sees_what_it_did(store: SagaStore, other: SagaStore) -> None:
    (_, undos), replied = one_after_the_other(
        store, lambda: store.cancel(SAGA, "a", NOW), lambda: advance(other, MADE)
    )
    assert (sent(undos), replied) == (["a/make/undo"], [])
    assert steps(store) == ["UNDOING", "PENDING"]


def test_cancel_waits_for_the_last_reply_and_is_too_late(
    store: SagaStore, other: SagaStore
) -> None:
    advance(store, MADE)

    def cancel_too_late() -> None:
        with pytest.raises(Conflict, match="already ended: COMPLETED"):
            other.cancel(SAGA, "a", NOW)

    one_after_the_other(store, lambda: advance(store, FINISHED), cancel_too_late)
    assert steps(store) == ["DONE", "DONE"]


def test_cancel_waits_for_a_sweep_and_undoes_its_attempt(
    store: SagaStore, other: SagaStore
) -> None:
    swept, (state, _) = one_after_the_other(
        store, lambda: sweep(store), lambda: other.cancel(SAGA, "a", LATER)
    )
    assert swept == ["a/make/do", "b/make/do"]
    assert [told for _, told, *_ in state.history] == ["0R", "0R timeout", "0U cancelled"]


def test_sweep_waits_for_nobody_and_takes_the_others(store: SagaStore, other: SagaStore) -> None:
    with transaction(store.database):
        store.cancel(SAGA, "a", NOW)
        assert sweep(other) == ["b/make/do"]
    assert steps(store) == ["UNDOING", "PENDING"]


def test_note_that_a_command_is_sent_leaves_a_saga_that_was_cancelled_meanwhile(
    store: SagaStore, other: SagaStore
) -> None:
    with transaction(store.database):
        store.sweep(SAGA, LATER)
    (state, _), _ = one_after_the_other(
        store, lambda: store.cancel(SAGA, "a", NOW), lambda: note_sent(other)
    )
    assert saga_rows.SagaRow.get_by_id("a").due_at == state.due_at


def advance_both(store: SagaStore) -> None:
    with transaction(store.database):
        store.advance(SAGA, [MADE._replace(saga_id="b"), MADE], NOW)


@pytest.mark.parametrize("lock_both", [advance_both, note_sent])
def test_transitions_of_many_sagas_lock_them_in_one_order(
    store: SagaStore, other: SagaStore, lock_both: Callable[[SagaStore], None]
) -> None:
    """Wherever they are stored: one that waits for the first of them holds no other."""
    for saga_id in "ba":  # PostgreSQL writes it anew, behind what is there
        saga_rows.mark.on(store.database, saga_id, "RUNNING", unsent.marked(LATER))
    free = "SELECT 1 FROM saga WHERE id = 'b' FOR UPDATE NOWAIT"

    with ThreadPoolExecutor(1) as thread, transaction(store.database):
        store.cancel(SAGA, "a", NOW)
        later = thread.submit(lock_both, other)
        wait_until(lambda: waits(store.database), "the other one waits")
        assert store.database.execute_sql(free).fetchone()
    later.result(DEADLINE)


def test_sweep_takes_the_longest_overdue_first_where_no_index_is_read(
    store: SagaStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for scan in ("indexscan", "bitmapscan"):
        store.database.execute_sql(f"SET enable_{scan} = off")
    monkeypatch.setattr(saga_store, "SWEEP_LIMIT", 1)
    saga_rows.mark.on(store.database, "b", "RUNNING", NOW)
    assert [sweep(store), sweep(store)] == [["b/make/do"], ["a/make/do"]]
