"""Sagas in the database: one row each, a history row per transition."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

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
from saga.runtime.clock import microseconds
from saga.runtime.database.connection import connect, transaction
from saga.runtime.database.schema import bind
from saga.runtime.envelope import Reply
from saga.runtime.errors import Conflict, ContractError, NotFound
from saga.runtime.saga_history import histories
from saga.runtime.saga_rows import SagaRow
from saga.runtime.saga_state import from_json, to_json
from saga.runtime.saga_store import SagaStore, Start
from saga.runtime.stamps import Parts, Stamps

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
UNDONE_TWICE = Saga(
    "store", start=Begin, steps=[Step(Make, undo=Unmake), Step(Finish, undo=Unmake)]
)


@pytest.fixture(autouse=True)
def store(database):
    bind(database, saga_store.TABLES)
    return SagaStore(database)


def begin(*ids, saga=SAGA, now=NOW, **options):
    return SagaStore(SagaRow._meta.database).start(
        saga, [Start(i, Begin(goods="ü"), **options) for i in ids], now
    )


def found(store, saga_ids):
    return saga_queries.find_many(store.database, saga_ids)


def listed(store, *arguments, **options):
    return saga_queries.page(store.database, *arguments, **options)


def reply(saga_id, step="make", action="do", outcome="done"):
    return Reply(saga_id, step, action, outcome, 1, "{}")


def moments(saga_id):
    database = SagaRow._meta.database
    return histories(database, found(SagaStore(database), [saga_id]))[saga_id]


def told(saga_id):
    return [(was.status, ", ".join(map(str, was.steps))) for was in moments(saga_id)]


def sent(commands):
    return [command.id for command in commands]


def test_started_saga_is_found_again(store):
    ((state, commands),) = begin("a", traceparent="00-a-b-01")
    assert sent(commands) == ["a/make/do"]
    assert commands[0].traceparent == "00-a-b-01"
    assert saga_queries.find(store.database, "a") == state


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
    assert SagaRow.select().count() == 0


def test_saga_id_taken_is_an_error():
    begin("a")
    with pytest.raises(peewee.IntegrityError):
        begin("b", "a")
    assert SagaRow.select().count() == 1


def test_key_with_the_same_body_gives_the_same_saga(store):
    ((first, _),) = begin("a", idempotency_key="k", fingerprint="f")
    store.advance(SAGA, [reply("a")], NOW)
    ((again, commands),) = begin("b", idempotency_key="k", fingerprint="f")
    assert (again.id, commands) == (first.id, [])
    assert again == saga_queries.find(store.database, "a")
    assert SagaRow.select().count() == 1


def test_key_with_another_body_is_a_conflict():
    begin("a", idempotency_key="k", fingerprint="f")
    (conflict,) = begin("b", idempotency_key="k", fingerprint="g")
    assert isinstance(conflict, Conflict)
    assert str(conflict) == "Idempotency-Key 'k' was used with another body"
    assert conflict.code == "key_reused"
    assert SagaRow.select().count() == 1


def test_key_used_twice_in_one_batch_makes_one_saga(store):
    requests = [
        Start("a", Begin(goods="x"), "k", "f"),
        Start("b", Begin(goods="x"), "k", "f"),
        Start("c", Begin(goods="x"), "k", "g"),
        Start("d", Begin(goods="x")),
    ]
    first, second, third, fourth = store.start(SAGA, requests, NOW)
    assert first[0] == second[0]
    assert second[1] == []
    assert isinstance(third, Conflict)
    assert fourth[0].id == "d"
    assert sorted(row.id for row in SagaRow.select()) == ["a", "d"]


def test_requests_without_a_key_are_sagas_of_their_own():
    begin("a", fingerprint="f")
    begin("b", fingerprint="f")
    assert SagaRow.select().count() == 2


def test_key_taken_by_another_process_meanwhile_gives_its_saga(monkeypatch, store):
    begin("a", idempotency_key="k", fingerprint="f")
    look, blind = store._taken_keys, [True]
    monkeypatch.setattr(
        SagaStore, "_taken_keys", lambda _, asked: {} if blind and blind.pop() else look(asked)
    )
    ((state, commands),) = begin("b", idempotency_key="k", fingerprint="f")
    assert (state.id, commands) == ("a", [])


def test_moment_of_a_reply_tells_the_parts_of_its_attempt(store):
    begin("a")
    moments = [microseconds(NOW + timedelta(seconds=n)) for n in range(5)]
    store.advance(SAGA, [reply("a")._replace(stamps=Stamps(*moments))], LATER)
    path = histories(store.database, found(store, ["a"]))["a"]
    assert path[-1].parts == Parts(*[timedelta(seconds=n) for n in (1, 1, 1, 1, 16)])


def test_reply_advances_its_saga(store):
    begin("a", "b")
    assert sent(store.advance(SAGA, [reply("a")], LATER)) == ["a/finish/do"]
    assert saga_queries.find(store.database, "a").steps[0].status == "DONE"
    assert saga_queries.find(store.database, "b").steps[0].status == "RUNNING"
    assert saga_queries.find(store.database, "a").due_at == LATER + timedelta(seconds=15)


def test_replies_of_one_batch_build_on_each_other(store):
    begin("a")
    commands = store.advance(SAGA, [reply("a"), reply("a", "finish")], LATER)
    assert sent(commands) == ["a/finish/do"]
    assert saga_queries.find(store.database, "a").status == "COMPLETED"
    assert SagaRow.get_by_id("a").due_at is None
    assert told("a")[-1] == ("COMPLETED", "make DONE, finish DONE")


def test_reply_to_no_saga_of_ours_is_passed_over(store):
    begin("a")
    begin("b", saga=OTHER)
    assert store.advance(SAGA, [reply("nobody"), reply("b")], NOW) == []
    assert saga_queries.find(store.database, "b").steps[0].status == "RUNNING"
    assert store.advance(SAGA, [], NOW) == []


def test_saga_begun_by_an_older_declaration_does_not_stop_the_others(store):
    begin("a", saga=Saga("store", start=Begin, steps=SAGA.steps[:1]))
    begin("b")
    assert "b/finish/do" in sent(store.advance(SAGA, [reply("a"), reply("b")], NOW))


def test_late_reply_writes_nothing(store):
    begin("a")
    store.advance(SAGA, [reply("a"), reply("a", "finish")], NOW)
    before = told("a")
    assert store.advance(SAGA, [reply("a"), reply("a", "finish")], LATER) == []
    assert told("a") == before


def swept(store, saga, now):
    """Sweep, and let what comes of it be sent; return that."""
    commands = store.sweep(saga, now)
    unsent.note_sent(store.database, [command.key for command in commands], now)
    return sent(commands)


def test_sweep_acts_on_what_is_due(store):
    begin("a")
    begin("b", now=LATER)
    begin("c", saga=OTHER)
    assert store.sweep(SAGA, NOW) == []
    assert swept(store, SAGA, LATER) == ["a/make/do"]
    assert saga_queries.find(store.database, "a").steps[0].silences == 1
    assert saga_queries.find(store.database, "b").steps[0].silences == 0
    assert saga_queries.find(store.database, "c").steps[0].silences == 0
    assert store.sweep(SAGA, LATER) == []


def test_sweep_takes_the_longest_overdue_first(monkeypatch, store):
    monkeypatch.setattr(saga_store, "SWEEP_LIMIT", 2)
    for name, n in {"b": 2, "a": 1, "c": 0}.items():
        begin(name, now=NOW + timedelta(seconds=n))
    assert swept(store, SAGA, LATER) == ["c/make/do", "a/make/do"]
    assert swept(store, SAGA, LATER) == ["b/make/do"]


def test_one_saga_is_enough_to_tell_that_some_are_due(store):
    begin("a", "b")
    assert len(store.due(SAGA, LATER)) == 1
    assert len(store.due(SAGA, NOW)) == 0


def test_saga_that_has_moved_on_is_looked_at_and_not_acted_on(store):
    begin("a")
    store.advance(SAGA, [reply("a")], LATER)
    before, due_at = told("a"), LATER + timedelta(seconds=15)
    assert store.due(SAGA, LATER)
    assert store.sweep(SAGA, LATER) == []
    assert told("a") == before
    assert SagaRow.get_by_id("a").due_at == due_at
    assert not store.due(SAGA, LATER)
    assert sent(store.sweep(SAGA, due_at)) == ["a/finish/do"]


def test_saga_that_is_due_earlier_than_before_is_acted_on_then(store):
    begin("a")
    store.advance(SAGA, [reply("a", outcome="failed")], NOW)
    assert sent(store.sweep(SAGA, NOW + timedelta(seconds=1))) == ["a/make/do"]


@pytest.mark.parametrize("together", [True, False])
def test_each_end_is_told_once(store, together):
    """Also of a saga that was begun before in the same batch, or whose last reply comes again."""
    told = []
    telling = SagaStore(store.database, lambda *change: told.append(change))
    begin("a", "b")
    replies = [reply("a"), reply("b"), reply("a", "finish"), reply("a", "finish")]
    for batch in [replies] if together else [[one] for one in replies]:
        telling.advance(SAGA, batch, NOW)
    ends = [(one.new, text) for one, text in told if one.new.ended and not one.old.ended]
    [(ended, text)] = ends
    assert ended == from_json(text) == saga_queries.find(store.database, "a")
    assert ended.status == "COMPLETED"


def test_each_saga_is_written_once(store, monkeypatch):
    begin("a", "b")
    written = []
    for name in ("update", "update_state"):
        spy = getattr(saga_rows, name)
        monkeypatch.setattr(
            saga_rows, name, Written(spy, lambda rows: written.extend(row[0] for row in rows))
        )
    store.sweep(SAGA, LATER)
    assert sorted(written) == ["a", "b"]
    written.clear()
    store.advance(SAGA, [reply("a"), reply("a", "finish"), reply("b")], LATER)
    assert sorted(written) == ["a", "b"]


class Written:
    """A statement whose rows are told."""

    def __init__(self, statement, tell):
        self.statement, self.tell = statement, tell

    def later(self, database, rows):
        self.tell(rows)
        self.statement.later(database, rows)


def test_ended_saga_is_swept_no_more(store):
    begin("a")
    store.advance(SAGA, [reply("a"), reply("a", "finish")], NOW)
    assert store.sweep(SAGA, NOW + timedelta(days=1)) == []


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_two_sweepers_share_the_work(database, postgres_url, store):
    begin("a", "b")
    database.execute_sql("SET lock_timeout = '60s'")  # rather than hang
    other = connect(postgres_url)
    try:
        with transaction(other):
            other.execute_sql("SELECT 1 FROM saga WHERE id = 'a' FOR UPDATE")
            with transaction(database):
                assert sent(store.sweep(SAGA, LATER)) == ["b/make/do"]
    finally:
        other.close()


def test_cancelled_saga_undoes(store):
    begin("a")
    state, commands = store.cancel(SAGA, "a", NOW)
    assert sent(commands) == ["a/make/undo"]
    assert saga_queries.find(store.database, "a") == state
    assert state.failure.code == "cancelled"


def test_cancel_that_fails_halfway_changes_nothing(store, monkeypatch):
    begin("a")
    monkeypatch.setattr(saga_rows, "update_state", None)  # which comes after another statement
    with pytest.raises(AttributeError):
        store.cancel(SAGA, "a", NOW)
    assert saga_queries.find(store.database, "a").status == "RUNNING"


def test_cancel_told_twice_changes_nothing_more(store):
    begin("a")
    first, _ = store.cancel(SAGA, "a", NOW)
    before = told("a")
    assert store.cancel(SAGA, "a", LATER) == (first, [])
    assert told("a") == before


def test_ended_saga_is_not_cancelled(store):
    begin("a")
    store.advance(SAGA, [reply("a"), reply("a", "finish")], NOW)
    with pytest.raises(Conflict):
        store.cancel(SAGA, "a", NOW)


def test_failed_saga_is_retried(store):
    begin("a")
    store.cancel(SAGA, "a", NOW)
    store.advance(SAGA, [reply("a", "make", "undo", "rejected")], NOW)
    assert SagaRow.get_by_id("a").status == "FAILED"
    state, commands = store.retry(SAGA, "a", LATER)
    assert (state.status, sent(commands)) == ("COMPENSATING", ["a/make/undo"])
    with pytest.raises(Conflict):
        store.retry(SAGA, "a", LATER)


HAND = {"step": "make", "by": "Ada", "reason": "paid in cash"}


def test_undo_done_by_hand_is_told_with_who_and_why(store):
    begin("a")
    store.cancel(SAGA, "a", NOW)
    with pytest.raises(Conflict, match="has no failed undo"):
        store.skip(SAGA, "a", NOW, **HAND)
    store.advance(SAGA, [reply("a", "make", "undo", "rejected")], NOW)
    state, commands = store.skip(SAGA, "a", LATER, **HAND)
    assert (state.status, commands) == ("COMPENSATED", [])
    assert SagaRow.get_by_id("a").status == "COMPENSATED"
    assert told("a")[-1] == ("COMPENSATED", "make UNDONE (skipped: Ada: paid in cash)")
    assert moments("a")[-1].at == LATER


def test_saga_goes_on_behind_an_undo_done_by_hand(store):
    """An earlier version gave up all undos with the first one that had failed."""
    begin("a", saga=UNDONE_TWICE)
    store.advance(UNDONE_TWICE, [reply("a")], NOW)
    store.cancel(UNDONE_TWICE, "a", NOW)
    for step in ("finish", "make"):
        store.advance(UNDONE_TWICE, [reply("a", step, "undo", "rejected")], NOW)
    state = saga_queries.find(store.database, "a")
    steps = (replace(state.steps[0], status="DONE"), state.steps[1])
    SagaRow.update(state=to_json(replace(state, steps=steps))).execute()
    state, commands = store.skip(UNDONE_TWICE, "a", LATER, **HAND | {"step": "finish"})
    assert (state.status, sent(commands)) == ("COMPENSATING", ["a/make/undo"])


@pytest.mark.parametrize(
    "change",
    [SagaStore.cancel, SagaStore.retry, lambda store, *asked: store.skip(*asked, **HAND)],
)
def test_unknown_saga_is_not_changed(change, store):
    begin("b", saga=OTHER)
    for unknown in ("a", "b"):
        with pytest.raises(NotFound, match=f"no saga {unknown}"):
            change(store, SAGA, unknown, NOW)


def test_unknown_saga_is_not_found(store):
    with pytest.raises(NotFound, match="no saga a"):
        saga_queries.find(store.database, "a")


def test_sagas_are_found_by_their_ids(store):
    begin("a", "b", "c")
    assert sorted(state.id for state in found(store, ["a", "c", "x"])) == ["a", "c"]
    assert found(store, []) == []


def test_pages_follow_each_other(store):
    begin(*"cabde")
    pages = [
        listed(store, 2),
        listed(store, 2, after="b"),
        listed(store, 2, after="d"),
    ]
    assert [[state.id for state in page] for page in pages] == [["a", "b"], ["c", "d"], ["e"]]
    assert listed(store, 2, after="e") == []
    assert [state.id for state in listed(store, 2, newest=True)] == ["e", "d"]
    assert [state.id for state in listed(store, 2, after="d", newest=True)] == ["c", "b"]


def test_page_of_a_status(store):
    begin("a", "b")
    store.cancel(SAGA, "a", NOW)
    assert [state.id for state in listed(store, 9, status="COMPENSATING")] == ["a"]
    assert listed(store, 9, status="FAILED") == []


def test_ended_sagas_are_told(store):
    begin("a", "b", "c")
    store.advance(SAGA, [reply("a"), reply("a", "finish")], NOW)
    store.cancel(SAGA, "b", NOW)
    assert saga_queries.ended(store.database, ["a", "b", "c", "x"]) == {"a"}


def test_history_tells_every_transition(store):
    begin("a")
    store.advance(SAGA, [reply("a")], NOW)
    store.cancel(SAGA, "a", LATER)
    store.advance(SAGA, [reply("a", "make", "undo")], LATER)
    assert told("a") == [
        ("RUNNING", "make RUNNING"),
        ("RUNNING", "make DONE, finish RUNNING"),
        ("COMPENSATING", "finish FAILED (cancelled), make UNDOING"),
        ("COMPENSATED", "make UNDONE"),
    ]
    assert [was.at for was in moments("a")] == [NOW, NOW, LATER, LATER]


def test_saga_id_that_no_database_can_hold_is_no_saga(store):
    assert found(store, ["x" * 500]) == []
    assert store.advance(SAGA, [reply("x" * 500)], NOW) == []


SEARCHED = Saga("store", start=Begin, steps=[Step(Make), Step(Finish)], search=("goods",))


def goods(store, *names):
    for number, name in enumerate(names):
        store.start(SEARCHED, [Start(f"s{number}", Begin(goods=name))], NOW)


def ids(states):
    return [state.id for state in states]


def test_sagas_are_found_by_what_their_declaration_names(store):
    goods(store, "tea", "milk", "tea")
    begin("other", saga=OTHER)
    assert ids(listed(store, 9, saga=SEARCHED, search={"goods": "tea"})) == ["s0", "s2"]
    assert ids(listed(store, 9, saga=SEARCHED, search={"goods": "coffee"})) == []
    assert ids(listed(store, 9, saga=SEARCHED)) == ["s0", "s1", "s2"]


def test_found_sagas_come_page_by_page(store):
    goods(store, *["tea"] * 5)
    first = listed(store, 2, saga=SEARCHED, search={"goods": "tea"})
    following = listed(store, 2, ids(first)[-1], saga=SEARCHED, search={"goods": "tea"})
    assert ids(first + following) == ["s0", "s1", "s2", "s3"]


def test_a_long_value_is_found_by_its_beginning(store):
    goods(store, "x" * 500)
    assert ids(listed(store, 9, saga=SEARCHED, search={"goods": "x" * 500})) == ["s0"]


def test_saga_is_searched_by_fields_of_its_start_message_alone():
    with pytest.raises(ContractError, match="can't be searched by colour: Begin has no such field"):
        Saga("store", start=Begin, steps=[Step(Make)], search=("colour",))


def test_saga_is_searched_by_a_field_once():
    with pytest.raises(ContractError, match="searched twice by one field"):
        Saga("store", start=Begin, steps=[Step(Make)], search=("goods", "goods"))


def test_key_of_another_saga_is_a_conflict():
    begin("a", idempotency_key="k", fingerprint="f")
    (conflict,) = begin("b", saga=OTHER, idempotency_key="k", fingerprint="f")
    assert isinstance(conflict, Conflict)
    assert str(conflict) == "Idempotency-Key 'k' was used for another saga"


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_database_of_version_0_1_goes_on_working(database, store):
    database.execute_sql("DROP TABLE saga")
    database.execute_sql(
        "CREATE TABLE saga (id VARCHAR(36) NOT NULL PRIMARY KEY, name TEXT NOT NULL,"
        " status TEXT NOT NULL, due_at BIGINT, idempotency_key TEXT, request_hash TEXT,"
        " state TEXT NOT NULL)"
    )
    for column in ("status", "due_at"):
        database.execute_sql(f"CREATE INDEX saga_{column} ON saga ({column})")
    database.execute_sql("CREATE UNIQUE INDEX saga_idempotency_key ON saga (idempotency_key)")
    bind(database, saga_store.TABLES)
    begin("a", idempotency_key="k")
    assert sent(store.advance(SAGA, [reply("a")], NOW)) == ["a/finish/do"]
    assert sent(store.sweep(SAGA, LATER)) == ["a/finish/do"]
    [(again, commands)] = begin("b", idempotency_key="k")
    assert (again.id, commands) == ("a", [])


def test_key_of_version_0_1_is_known_by_its_longer_hash(store):
    begin("a", idempotency_key="k", fingerprint="one tea")
    hashed = hashlib.sha256(b"one tea").hexdigest()
    assert hashed.startswith(SagaRow.get_by_id("a").request_hash)
    SagaRow.update(request_hash=hashed).execute()
    assert begin("b", idempotency_key="k", fingerprint="one tea")[0][0].id == "a"
    assert isinstance(begin("b", idempotency_key="k", fingerprint="two teas")[0], Conflict)
