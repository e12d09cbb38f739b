"""A saga whose row can't be read is set aside visibly, and holds up none of the others."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from saga.runtime import (
    Command,
    Event,
    Message,
    Saga,
    Step,
    saga_changes,
    saga_guard,
    saga_history,
    saga_queries,
    saga_store,
    unsent,
)
from saga.runtime.database.schema import bind
from saga.runtime.envelope import Reply
from saga.runtime.errors import Conflict, NotFound
from saga.runtime.saga_rows import SagaRow
from saga.runtime.saga_state import Failure
from saga.runtime.saga_store import SagaStore, Start

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(seconds=20)
HAND = {"step": "make", "by": "Ada", "reason": "made by hand"}


class Begin(Message):
    goods: str


class Happened(Event, topic="unread.events"):
    pass


class Make(Command, topic="unread.make", event=Happened):
    pass


class Unmake(Command, topic="unread.unmake", event=Happened):
    pass


class Finish(Command, topic="unread.finish", event=Happened):
    pass


STEPS = [Step(Make, undo=Unmake), Step(Finish)]
SAGA = Saga("unread", start=Begin, steps=STEPS, search=("goods",))
OTHER = Saga("other", start=Begin, steps=STEPS)


@pytest.fixture
def store(database):
    return started(database)


def started(database):
    """Start three sagas, which wait for their first step."""
    bind(database, saga_store.TABLES)
    store = SagaStore(database)
    store.start(SAGA, [Start(i, Begin(goods="ü")) for i in ("a", "b", "c")], NOW)
    return store


def text(saga_id="b"):
    return SagaRow.get_by_id(saga_id).state


def write(written, saga_id="b"):
    SagaRow.update(state=written).where(SagaRow.id == saga_id).execute()
    return written


def paused(saga_id="b"):
    """Write a row as a newer version does, which can pause a saga; return it as it was."""
    before = text(saga_id)
    write(before.replace('"status":"RUNNING"', '"status":"PAUSED"', 1), saga_id)
    return before


def columns(saga_id="b"):
    row = SagaRow.get_by_id(saga_id)
    return row.status, row.due_at


def reply(saga_id, step="make", action="do", outcome="done"):
    return Reply(saga_id, step, action, outcome, 1, "{}")


def sent(commands):
    return [command.id for command in commands]


def swept(store):
    """Sweep, and let what comes of it be sent; return that."""
    commands = store.sweep(SAGA, LATER)
    unsent.note_sent(store.database, [command.key for command in commands], LATER)
    return sorted(sent(commands))


def saga(store, saga_id="b"):
    return saga_queries.find(store.database, saga_id)


def page(store, **options):
    return saga_queries.page(store.database, 9, **options)


def shown(states):
    return {state.id: state.status for state in states}


SET_ASIDE = ("UNREADABLE", None)
BROKEN = ["", "no saga", "[]", "{}", '{"input": 7, "created_at": "x"}', '{"input": "\\ud83d"}']
BROKEN += ['{"created_at": 1e300, "updated_at": "2026-01-01T00:00:00"}', "[" * 10_000]


@pytest.mark.parametrize("written", BROKEN)
def test_row_that_cant_be_read_is_set_aside_as_it_is_when_it_is_due(store, written, caplog):
    write(written)
    assert swept(store) == ["a/make/do", "c/make/do"]
    assert (text(), columns()) == (written, SET_ASIDE)
    assert shown(page(store)) == {"a": "RUNNING", "b": "UNREADABLE", "c": "RUNNING"}
    unknown = datetime(1970, 1, 1, tzinfo=UTC)
    assert (saga(store).input, saga(store).created_at, saga(store).updated_at) == (
        {},
        unknown,
        unknown,
    )
    assert store.sweep(SAGA, LATER + timedelta(seconds=1)) == []
    assert caplog.text.count("saga b can't be read: ") == 1


def test_row_that_is_no_text_is_set_aside_on_sqlite(sqlite):
    """SQLite keeps any bytes, such as those of a terminal of another encoding."""
    store = started(sqlite)
    sqlite.execute_sql("UPDATE saga SET state = CAST(x'7bfc' AS TEXT) WHERE id = 'b'")
    assert swept(store) == ["a/make/do", "c/make/do"]
    assert shown(page(store)) == {"a": "RUNNING", "b": "UNREADABLE", "c": "RUNNING"}


class Nested(Message):
    goods: Any


class Packed(Event, topic="unread.events"):
    paper: Any


class Pack(Command, topic="unread.pack", event=Packed):
    goods: Any


NESTED = Saga("nested", start=Nested, steps=[Step(Pack), Step(Finish)])


def nested(depth):
    return json.loads("[" * depth + "]" * depth)


@pytest.mark.parametrize("depth", range(190, 202))
def test_what_is_nested_too_deep_for_a_row_is_not_kept_in_one(database, depth):
    bind(database, saga_store.TABLES)
    store = SagaStore(database)
    [started] = store.start(NESTED, [Start("n", Nested(goods=nested(depth)))], NOW)
    assert isinstance(started, RecursionError) == (depth > 197)
    store.start(NESTED, [Start("b", Nested(goods=1))], NOW)
    told = reply("b", "pack")._replace(data=json.dumps({"paper": nested(depth)}))
    assert len(store.advance(NESTED, [told], NOW)) == (depth <= 197)
    assert {state.status for state in page(store)} == {"RUNNING"}


@pytest.mark.parametrize("column", ["name", "status"])
def test_row_whose_column_has_bytes_hides_no_other_on_sqlite(sqlite, column):
    """In SQLite's order they are behind all text."""
    store = started(sqlite)
    sqlite.execute_sql(f"UPDATE saga SET {column} = x'ff' WHERE id = 'b'")
    steps = iter(range(1_000))
    sqlite.connection().set_progress_handler(lambda: next(steps, None) is None, 100)
    assert shown(page(store)) == {"a": "RUNNING", "c": "RUNNING"}
    assert shown(page(store, saga=SAGA)) == {"a": "RUNNING", "c": "RUNNING"}


@pytest.mark.parametrize("value", ["'soon'", "x'ff'", "9e999", "-9e999"])
def test_change_noted_at_no_time_is_read_and_pruned_on_sqlite(sqlite, value):
    store = started(sqlite)
    sqlite.execute_sql(f"UPDATE saga_change SET at = {value}")
    store.advance(SAGA, [reply("a")], NOW)
    heard = saga_changes.read(sqlite, saga_changes.Place(0, 0), 9)
    assert [change.saga_id for change in heard] == ["a", "b", "c", "a"]
    saga_changes.prune(sqlite, NOW + timedelta(days=1))


@pytest.mark.parametrize("due_at", [-(2**62), 0])
def test_row_that_is_due_at_no_time_holds_up_none(store, due_at):
    store.database.execute_sql(f"UPDATE saga SET due_at = {due_at} WHERE id = 'b'")
    assert swept(store) == ["a/make/do", "b/make/do", "c/make/do"]


def test_row_that_cant_be_read_is_set_aside_when_a_reply_comes(store, caplog):
    paused()
    before = text()
    replies = [reply("a"), reply("b"), reply("b"), reply("c")]
    assert sent(store.advance(SAGA, replies, NOW)) == ["a/finish/do", "c/finish/do"]
    assert (text(), columns()) == (before, SET_ASIDE)
    assert store.advance(SAGA, [reply("b")], NOW) == []
    assert caplog.messages == [f"saga b {saga(store).failure.message}"]


@pytest.mark.parametrize("met", [False, True])
def test_row_that_cant_be_read_is_shown_with_the_reason(store, met):
    paused()
    if met:
        store.sweep(SAGA, LATER)
    for found in (saga(store), page(store)[1], page(store, saga=SAGA, search={"goods": "ü"})[1]):
        assert (found.id, found.name, found.status) == ("b", "unread", "UNREADABLE")
        assert (found.failure.step, found.failure.code) == ("", "unreadable")
        assert found.failure.message.startswith("can't be read: status: Input should be 'RUNNING'")
        assert (found.input, found.created_at, found.due_at) == ({"goods": "ü"}, NOW, None)
        assert found.ended


LOOKS = [{}, {"newest": True}, {"saga": SAGA}, {"saga": SAGA, "search": {"goods": "ü"}}]


def row_of_a_newer_version(store):
    paused()
    SagaRow.update(status="PAUSED").where(SagaRow.id == "b").execute()


def failed_and_edited(store):
    store.cancel(SAGA, "b", NOW)
    store.advance(SAGA, [reply("b", action="undo", outcome="rejected")], NOW)
    write("")


UNREAD = {
    "of a status that is not known": row_of_a_newer_version,
    "which its host has not met yet": lambda _: write(""),
    "which waits for a person": failed_and_edited,
    "which is set aside": lambda store: set_aside(store),
    "of another saga's state": lambda _: write(text("a")),
}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("unread", UNREAD)
def test_list_and_filter_agree_on_what_cant_be_read(store, unread, look):
    UNREAD[unread](store)
    assert shown(page(store, **look)) == {"a": "RUNNING", "b": "UNREADABLE", "c": "RUNNING"}
    assert shown(page(store, status="UNREADABLE", **look)) == {"b": "UNREADABLE"}
    assert shown(page(store, status="RUNNING", **look)) == {"a": "RUNNING", "c": "RUNNING"}
    assert page(store, status="FAILED", **look) == []


@pytest.mark.parametrize("look", LOOKS)
def test_what_has_ended_well_and_cant_be_read_is_in_the_list_of_all_alone(store, look):
    store.advance(SAGA, [reply("b"), reply("b", "finish")], NOW)
    write("")
    assert shown(page(store, **look))["b"] == "UNREADABLE"
    for status in ("UNREADABLE", "COMPLETED"):
        assert page(store, status=status, **look) == []


@pytest.mark.parametrize("look", [{}, {"saga": SAGA, "search": {"goods": "ü"}}])
def test_what_cant_be_read_is_found_behind_many_that_can(store, look, monkeypatch):
    monkeypatch.setattr(saga_queries, "READ_AT_ONCE", 2)
    ids = [f"d{number}" for number in range(9)]
    store.start(SAGA, [Start(i, Begin(goods="ü")) for i in ids], NOW)
    for saga_id in ("d2", "d7", "d8"):
        write("", saga_id)

    def found(limit, after=None, **options):
        states = saga_queries.page(store.database, limit, after, "UNREADABLE", **options)
        return [state.id for state in states]

    assert found(2, **look) == ["d2", "d7"]
    assert found(2, "d7", **look) == ["d8"]
    assert found(2, newest=True, **look) == ["d8", "d7"]
    assert found(2, "d7", newest=True, **look) == ["d2"]
    running = saga_queries.page(store.database, 3, "d6", "RUNNING", newest=True, **look)
    assert [state.id for state in running] == ["d5", "d4", "d3"]
    assert len(saga_queries.page(store.database, 9, status="RUNNING", **look)) == 9


@pytest.mark.parametrize("field", ["created_at", "updated_at", "deadline_at", "due_at"])
def test_row_with_a_time_of_no_zone_is_set_aside(store, field):
    write(json.dumps({**json.loads(text()), field: "2026-01-01T00:00:00"}))
    store.sweep(SAGA, LATER)
    assert columns() == SET_ASIDE
    assert field in saga(store).failure.message


@pytest.mark.parametrize(
    "history", [[["x", "0R"]], [[1, "9R"]], [[1, "0?"]], [[1, ""]], [[10**20, "0R"]], [[[], "0R"]]]
)
def test_history_that_cant_be_read_holds_up_nothing(store, history):
    write(json.dumps({**json.loads(text()), "history": history}))
    found = saga_history.histories(store.database, [saga(store)])
    assert found[saga(store).id] == []


def test_state_of_another_saga_is_not_read_as_this_ones(store):
    write(text("a"))
    store.sweep(SAGA, LATER)
    assert columns() == SET_ASIDE
    assert saga(store).name == "unread"
    assert saga(store).failure.message == "can't be read: its row has the state of unread a"
    assert saga(store, "a").steps[0].silences == 1


def test_state_that_calls_itself_unreadable_is_so(store):
    write(text().replace('"RUNNING"', '"UNREADABLE"', 1))
    store.sweep(SAGA, LATER)
    assert columns() == SET_ASIDE
    with pytest.raises(Conflict, match="saga b can't be read: status: ") as refused:
        store.retry(SAGA, "b", LATER)
    assert refused.value.code == "saga_unreadable"


def test_retry_of_what_still_cant_be_read_is_refused_with_the_reason(store):
    paused()
    for _ in range(2):  # before and after its host has met it
        with pytest.raises(Conflict, match="saga b can't be read: status: Input should be"):
            store.retry(SAGA, "b", LATER)
        store.sweep(SAGA, LATER)
    assert columns() == SET_ASIDE


def set_aside(store, saga_id="b"):
    """Set a saga aside and repair its row; return it."""
    before = paused(saga_id)
    store.advance(SAGA, [reply(saga_id)], NOW)
    return write(before, saga_id)


def test_who_follows_sagas_hears_that_one_is_set_aside_and_taken_up(store):
    set_aside(store)
    store.retry(SAGA, "b", LATER)
    heard = saga_changes.read(store.database, saga_changes.Place(0, 0), 9)
    assert [change[1:] for change in heard[2:]] == [
        ("c", 0, "", NOW),
        ("b", None, "UNREADABLE", NOW),
        ("b", None, "RUNNING", LATER),
    ]


def test_saga_that_can_be_read_again_waits_for_its_retry(store):
    before = set_aside(store)
    assert (saga(store).status, saga(store).due_at) == ("UNREADABLE", None)
    assert saga(store).failure == Failure(
        "", "unreadable", "was set aside, and can be read again: a retry takes it up", True
    )
    assert store.advance(SAGA, [reply("b")], LATER) == []
    assert swept(store) == ["a/make/do", "c/make/do"]
    assert (text(), columns()) == (before, SET_ASIDE)
    state, commands = store.retry(SAGA, "b", LATER)
    assert (state, commands) == (saga(store), [])
    assert (text(), columns()) == (before, ("RUNNING", LATER))
    assert sent(store.sweep(SAGA, LATER)) == ["b/make/do"]
    assert sent(store.advance(SAGA, [reply("b")], LATER)) == ["b/finish/do"]


def test_saga_that_is_taken_up_before_it_is_due_waits_until_then(store):
    set_aside(store)
    store.retry(SAGA, "b", NOW)
    assert columns() == ("RUNNING", NOW)
    assert store.sweep(SAGA, NOW) == []
    assert columns() == ("RUNNING", NOW + timedelta(seconds=15))


def test_saga_is_read_and_taken_up_in_one_transaction(store, monkeypatch):
    set_aside(store)
    take_up, inside = saga_guard.take_up, []

    def note(database, *asked):
        inside.append(database.in_transaction())
        return take_up(database, *asked)

    monkeypatch.setattr(saga_guard, "take_up", note)
    store.retry(SAGA, "b", LATER)
    assert inside == [True]


def test_saga_that_had_ended_is_taken_up_as_that(store):
    store.advance(SAGA, [reply("b"), reply("b", "finish")], NOW)
    before = text()
    write(before.replace('"COMPLETED"', '"FINISHED"', 1))
    store.advance(SAGA, [reply("b")], NOW)
    assert columns() == SET_ASIDE
    write(before)
    assert store.retry(SAGA, "b", LATER)[0].status == "COMPLETED"
    assert columns() == ("COMPLETED", None)


def test_saga_that_had_failed_is_taken_up_and_retried(store):
    store.cancel(SAGA, "b", NOW)
    store.advance(SAGA, [reply("b", action="undo", outcome="rejected")], NOW)
    before = text()
    write(before.replace('"FAILED"', '"STUCK"', 1))
    store.advance(SAGA, [reply("b")], NOW)
    write(before)
    state, commands = store.retry(SAGA, "b", LATER)
    assert (state.status, sent(commands)) == ("COMPENSATING", ["b/make/undo"])
    assert columns()[0] == "COMPENSATING"


@pytest.mark.parametrize("repaired", [False, True])
@pytest.mark.parametrize(
    "change", [SagaStore.cancel, lambda store, *asked: store.skip(*asked, **HAND)]
)
def test_saga_that_is_set_aside_is_not_changed(store, change, repaired):
    before = set_aside(store) if repaired else paused()
    why = "can be read again: a retry takes it up" if repaired else "can't be read: status: "
    with pytest.raises(Conflict, match=f"saga b .*{why}"):
        change(store, SAGA, "b", NOW)
    assert (text() == before) == repaired


def test_unreadable_saga_of_another_declaration_is_not_found(store):
    set_aside(store)
    with pytest.raises(NotFound):
        store.retry(OTHER, "b", LATER)
    assert columns() == SET_ASIDE


def test_key_of_a_saga_that_cant_be_read_gives_that_saga(store):
    requests = [Start(i, Begin(goods="x"), f"key of {i}", "f") for i in ("d", "e")]
    store.start(SAGA, requests[:1], NOW)
    paused("d")
    again, other = store.start(SAGA, requests, LATER)
    assert (again[0].id, again[0].status, again[1]) == ("d", "UNREADABLE", [])
    assert sent(other[1]) == ["e/make/do"]


def test_what_can_be_told_of_a_row_is_told(store):
    told = {"created_at": 1767225600.5, "updated_at": "2026-01-01T00:00:20Z"}
    write(json.dumps({"input": {"goods": "tea"}, "status": "NEW", **told}))
    assert saga(store).input == {"goods": "tea"}
    assert saga(store).created_at == NOW + timedelta(seconds=0.5)
    assert saga(store).updated_at == LATER
