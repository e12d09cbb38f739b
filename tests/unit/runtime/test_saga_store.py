"""Sagas in the database: one row each, a history row per transition."""

from datetime import UTC, datetime, timedelta

import peewee
import pytest

from saga.runtime import Command, Event, Message, Reply, Saga, Step, saga_store
from saga.runtime.database.connection import bind, connect, transaction
from saga.runtime.errors import Conflict, NotFound
from saga.runtime.saga_store import HistoryRow, SagaRow, Start

NOW = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
LATER = NOW + timedelta(seconds=20)


class Begin(Message):
    goods: str


class Happened(Event, topic="store.events"):
    pass


class Make(Command, topic="store.make", event=Happened):
    goods: str


class Unmake(Command, topic="store.unmake", event=Happened):
    goods: str


class Finish(Command, topic="store.finish", event=Happened):
    pass


SAGA = Saga("store", start=Begin, steps=[Step(Make, undo=Unmake), Step(Finish)])
OTHER = Saga("other", start=Begin, steps=[Step(Make, undo=Unmake), Step(Finish)])


@pytest.fixture(autouse=True)
def _bound(database):
    bind(database, saga_store.TABLES)


def begin(*ids, saga=SAGA, now=NOW, **options):
    return saga_store.start(saga, [Start(i, Begin(goods="ü"), **options) for i in ids], now)


def reply(saga_id, step="make", action="do", outcome="done"):
    return Reply(saga_id, step, action, outcome, 1, "{}")


def told(saga_id):
    return [(row.status, row.changes) for row in saga_store.history(saga_id)]


def sent(commands):
    return [command.id for command in commands]


def test_started_saga_is_found_again():
    ((state, commands),) = begin("a", traceparent="00-a-b-01")
    assert sent(commands) == ["a/make/do"]
    assert commands[0].traceparent == "00-a-b-01"
    assert saga_store.find("a") == state


def test_row_tells_what_is_asked_for():
    begin("a")
    row = SagaRow.get()
    assert (row.id, row.name, row.status) == ("a", "store", "RUNNING")
    assert row.due_at == NOW + timedelta(seconds=15)
    assert row.idempotency_key is None


def test_many_sagas_are_started_at_once():
    results = begin(*[f"saga {n:03}" for n in range(300)])
    assert [state.id for state, _ in results] == [f"saga {n:03}" for n in range(300)]
    assert SagaRow.select().count() == 300


def test_nothing_is_started_by_no_requests():
    assert begin() == []
    assert HistoryRow.select().count() == 0


def test_saga_id_taken_is_an_error():
    begin("a")
    with pytest.raises(peewee.IntegrityError):
        begin("b", "a")
    assert SagaRow.select().count() == 1


def test_key_with_the_same_body_gives_the_same_saga():
    ((first, _),) = begin("a", idempotency_key="k", fingerprint="f")
    saga_store.advance(SAGA, [reply("a")], NOW)
    ((again, commands),) = begin("b", idempotency_key="k", fingerprint="f")
    assert (again.id, commands) == (first.id, [])
    assert again == saga_store.find("a")
    assert SagaRow.select().count() == 1


def test_key_with_another_body_is_a_conflict():
    begin("a", idempotency_key="k", fingerprint="f")
    (conflict,) = begin("b", idempotency_key="k", fingerprint="g")
    assert isinstance(conflict, Conflict)
    assert "'k' was used with another body" in str(conflict)
    assert SagaRow.select().count() == 1


def test_key_used_twice_in_one_batch_makes_one_saga():
    requests = [
        Start("a", Begin(goods="x"), "k", "f"),
        Start("b", Begin(goods="x"), "k", "f"),
        Start("c", Begin(goods="x"), "k", "g"),
        Start("d", Begin(goods="x")),
    ]
    first, second, third, fourth = saga_store.start(SAGA, requests, NOW)
    assert first[0] == second[0]
    assert second[1] == []
    assert isinstance(third, Conflict)
    assert fourth[0].id == "d"
    assert sorted(row.id for row in SagaRow.select()) == ["a", "d"]


def test_requests_without_a_key_are_sagas_of_their_own():
    begin("a", fingerprint="f")
    begin("b", fingerprint="f")
    assert SagaRow.select().count() == 2


def test_key_taken_by_another_process_meanwhile_gives_its_saga(monkeypatch):
    begin("a", idempotency_key="k", fingerprint="f")
    look, blind = saga_store._taken_keys, [True]
    monkeypatch.setattr(
        saga_store, "_taken_keys", lambda asked: {} if blind and blind.pop() else look(asked)
    )
    ((state, commands),) = begin("b", idempotency_key="k", fingerprint="f")
    assert (state.id, commands) == ("a", [])


def test_reply_advances_its_saga():
    begin("a", "b")
    assert sent(saga_store.advance(SAGA, [reply("a")], LATER)) == ["a/finish/do"]
    assert saga_store.find("a").steps[0].status == "DONE"
    assert saga_store.find("b").steps[0].status == "RUNNING"
    assert SagaRow.get_by_id("a").due_at == LATER + timedelta(seconds=15)


def test_replies_of_one_batch_build_on_each_other():
    begin("a")
    commands = saga_store.advance(SAGA, [reply("a"), reply("a", "finish")], LATER)
    assert sent(commands) == ["a/finish/do"]
    assert saga_store.find("a").status == "COMPLETED"
    assert SagaRow.get_by_id("a").due_at is None
    assert told("a")[-1] == ("COMPLETED", "make DONE, finish DONE")


def test_reply_to_no_saga_of_ours_is_passed_over():
    begin("a")
    begin("b", saga=OTHER)
    assert saga_store.advance(SAGA, [reply("nobody"), reply("b")], NOW) == []
    assert saga_store.find("b").steps[0].status == "RUNNING"
    assert saga_store.advance(SAGA, [], NOW) == []


def test_saga_begun_by_an_older_declaration_does_not_stop_the_others():
    begin("a", saga=Saga("store", start=Begin, steps=SAGA.steps[:1]))
    begin("b")
    assert "b/finish/do" in sent(saga_store.advance(SAGA, [reply("a"), reply("b")], NOW))


def test_late_reply_writes_nothing():
    begin("a")
    saga_store.advance(SAGA, [reply("a"), reply("a", "finish")], NOW)
    before = told("a")
    assert saga_store.advance(SAGA, [reply("a"), reply("a", "finish")], LATER) == []
    assert told("a") == before


def test_sweep_acts_on_what_is_due():
    begin("a")
    begin("b", now=LATER)
    begin("c", saga=OTHER)
    assert saga_store.sweep(SAGA, NOW) == []
    assert sent(saga_store.sweep(SAGA, LATER)) == ["a/make/do"]
    assert saga_store.find("a").steps[0].attempts == 2
    assert saga_store.find("b").steps[0].attempts == 1
    assert saga_store.find("c").steps[0].attempts == 1
    assert saga_store.sweep(SAGA, LATER) == []


def test_sweep_takes_the_longest_overdue_first(monkeypatch):
    monkeypatch.setattr(saga_store, "SWEEP_LIMIT", 2)
    for n, name in enumerate("cab"):
        begin(name, now=NOW + timedelta(seconds=n))
    assert sent(saga_store.sweep(SAGA, LATER)) == ["c/make/do", "a/make/do"]
    assert sent(saga_store.sweep(SAGA, LATER)) == ["b/make/do"]


def test_ended_saga_is_swept_no_more():
    begin("a")
    saga_store.advance(SAGA, [reply("a"), reply("a", "finish")], NOW)
    assert saga_store.sweep(SAGA, NOW + timedelta(days=1)) == []


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_two_sweepers_share_the_work(database, postgres_url):
    begin("a", "b")
    other = connect(postgres_url)
    try:
        with transaction(other):
            other.execute_sql("SELECT 1 FROM saga WHERE id = 'a' FOR UPDATE")
            with transaction(database):
                assert sent(saga_store.sweep(SAGA, LATER)) == ["b/make/do"]
    finally:
        other.close()


def test_cancelled_saga_undoes():
    begin("a")
    state, commands = saga_store.cancel(SAGA, "a", NOW)
    assert sent(commands) == ["a/make/undo"]
    assert saga_store.find("a") == state
    assert state.failure.code == "cancelled"


def test_cancel_told_twice_changes_nothing_more():
    begin("a")
    first, _ = saga_store.cancel(SAGA, "a", NOW)
    before = told("a")
    assert saga_store.cancel(SAGA, "a", LATER) == (first, [])
    assert told("a") == before


def test_ended_saga_is_not_cancelled():
    begin("a")
    saga_store.advance(SAGA, [reply("a"), reply("a", "finish")], NOW)
    with pytest.raises(Conflict):
        saga_store.cancel(SAGA, "a", NOW)


def test_failed_saga_is_retried():
    begin("a")
    saga_store.cancel(SAGA, "a", NOW)
    saga_store.advance(SAGA, [reply("a", "make", "undo", "rejected")], NOW)
    assert SagaRow.get_by_id("a").status == "FAILED"
    state, commands = saga_store.retry(SAGA, "a", LATER)
    assert (state.status, sent(commands)) == ("COMPENSATING", ["a/make/undo"])
    with pytest.raises(Conflict):
        saga_store.retry(SAGA, "a", LATER)


@pytest.mark.parametrize("change", [saga_store.cancel, saga_store.retry])
def test_unknown_saga_is_not_changed(change):
    begin("b", saga=OTHER)
    for unknown in ("a", "b"):
        with pytest.raises(NotFound, match=f"no saga {unknown}"):
            change(SAGA, unknown, NOW)


def test_unknown_saga_is_not_found():
    with pytest.raises(NotFound, match="no saga a"):
        saga_store.find("a")


def test_sagas_are_found_by_their_ids():
    begin("a", "b", "c")
    assert sorted(state.id for state in saga_store.find_many(["a", "c", "x"])) == ["a", "c"]
    assert saga_store.find_many([]) == []


def test_pages_follow_each_other():
    begin(*"cabde")
    pages = [saga_store.page(2), saga_store.page(2, after="b"), saga_store.page(2, after="d")]
    assert [[state.id for state in page] for page in pages] == [["a", "b"], ["c", "d"], ["e"]]
    assert saga_store.page(2, after="e") == []
    assert [state.id for state in saga_store.page(2, newest=True)] == ["e", "d"]


def test_page_of_a_status():
    begin("a", "b")
    saga_store.cancel(SAGA, "a", NOW)
    assert [state.id for state in saga_store.page(9, status="COMPENSATING")] == ["a"]
    assert saga_store.page(9, status="FAILED") == []


def test_ended_sagas_are_told():
    begin("a", "b", "c")
    saga_store.advance(SAGA, [reply("a"), reply("a", "finish")], NOW)
    saga_store.cancel(SAGA, "b", NOW)
    assert saga_store.ended(["a", "b", "c", "x"]) == {"a"}


def test_history_tells_every_transition():
    begin("a")
    saga_store.advance(SAGA, [reply("a")], NOW)
    saga_store.cancel(SAGA, "a", LATER)
    saga_store.advance(SAGA, [reply("a", "make", "undo")], LATER)
    assert told("a") == [
        ("RUNNING", "make RUNNING"),
        ("RUNNING", "make DONE, finish RUNNING"),
        ("COMPENSATING", "finish FAILED (cancelled), make UNDOING"),
        ("COMPENSATED", "make UNDONE"),
    ]
    assert [row.at for row in saga_store.history("a")] == [NOW, NOW, LATER, LATER]


def test_saga_id_that_no_database_can_hold_is_no_saga():
    assert saga_store.find_many(["x" * 500]) == []
    assert saga_store.advance(SAGA, [reply("x" * 500)], NOW) == []
