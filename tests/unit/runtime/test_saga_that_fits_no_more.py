"""A saga that no longer fits its declaration stays as it is, and holds up none of the others."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from saga.runtime import Command, Event, Message, Saga, Step, saga_queries, saga_store, unsent
from saga.runtime.database.connection import connect
from saga.runtime.database.schema import bind
from saga.runtime.envelope import Reply
from saga.runtime.saga_rows import SagaRow
from saga.runtime.saga_store import SagaStore, Start

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(seconds=20)


class Begin(Message):
    goods: str


class Happened(Event, topic="unfit.events"):
    pass


class Make(Command, topic="unfit.make", event=Happened):
    pass


class Finish(Command, topic="unfit.finish", event=Happened):
    pass


class End(Command, topic="unfit.end", event=Happened):
    pass


class Today:
    """The messages of a later version: they have a day, which no saga of before knows."""

    class Begin(Message):
        goods: str
        day: str

    class Finish(Command, topic="unfit.finish", event=Happened):
        day: str


BEFORE = Saga("unfit", start=Begin, steps=[Step(Make), Step(Finish)])
RENAMED = Saga("unfit", start=Begin, steps=[Step(Make), Step(End)])
WANTS_MORE = Saga("unfit", start=Today.Begin, steps=[Step(Make), Step(Today.Finish)])


@pytest.fixture
def store(database):
    """A saga of the declaration before, which awaits its second step."""
    bind(database, saga_store.TABLES)
    store = SagaStore(database)
    store.start(BEFORE, [Start("unfit", Begin(goods="x"))], NOW)
    store.advance(BEFORE, [made("unfit")], NOW)
    return store


def begin_others(store, declared):
    """Start two sagas that fit: by their ids, the other one is between them."""
    message = declared.start.model_validate({"goods": "x", "day": "Monday"})
    store.start(declared, [Start(i, message) for i in ("first", "zenith")], NOW)


def made(saga_id):
    return Reply(saga_id, "make", "do", "done", 1, "{}")


def finished(saga_id):
    return Reply(saga_id, "finish", "do", "done", 1, "{}")


def sent(commands):
    return [command.id for command in commands]


def saga(store, saga_id):
    return saga_queries.find(store.database, saga_id)


def test_reply_to_a_step_that_is_gone_holds_up_none(store, caplog):
    begin_others(store, RENAMED)
    before = saga(store, "unfit")
    replies = [made("first"), finished("unfit"), made("zenith")]
    assert sent(store.advance(RENAMED, replies, LATER)) == ["first/end/do", "zenith/end/do"]
    assert saga(store, "unfit") == before
    assert "saga unfit stays RUNNING: saga 'unfit' has no step 'finish' any more" in caplog.messages
    assert [line.saga_id for line in caplog.records if "stays" in line.message] == ["unfit"]


def test_command_is_sent_as_it_was_made_whatever_is_declared_since(store, caplog):
    """The last reply comes again, as nobody acknowledged it, and asks for its command again."""
    commands = store.advance(WANTS_MORE, [made("unfit")], LATER)
    commands += store.sweep(WANTS_MORE, LATER)
    assert [(command.id, command.data) for command in commands] == [("unfit/finish/do", "{}")] * 2
    assert "stays" not in caplog.text


def test_row_without_its_command_that_has_no_fields_for_it_holds_up_none(store, caplog):
    begin_others(store, WANTS_MORE)
    written = SagaRow.get_by_id("unfit").state
    SagaRow.update(state=written.replace(',"body":"{}"', "")).where(SagaRow.id == "unfit").execute()
    replies = [made("first"), made("unfit"), made("zenith")]
    assert sent(store.advance(WANTS_MORE, replies, LATER)) == [
        "first/finish/do",
        "zenith/finish/do",
    ]
    assert saga(store, "unfit").failure.code == "invalid_command"
    why = "ValidationError: 1 validation error for Finish"
    assert f"saga unfit is given up: {why}" in caplog.messages


def test_sweep_passes_by_what_fits_no_more(store):
    begin_others(store, RENAMED)
    commands = store.sweep(RENAMED, LATER)
    assert sent(commands) == ["first/make/do", "zenith/make/do"]
    unsent.note_sent(store.database, [command.key for command in commands], LATER)
    assert saga(store, "unfit").status == "RUNNING"
    assert store.sweep(RENAMED, LATER) == []


def test_what_fits_no_more_waits_also_where_it_is_due_just_now(store):
    due_at = saga(store, "unfit").due_at
    store.sweep(RENAMED, due_at)
    assert saga(store, "unfit").due_at == due_at + timedelta(minutes=1)


def test_what_fits_no_more_is_looked_at_a_minute_later(store, caplog):
    store.sweep(RENAMED, LATER)
    in_a_minute = LATER + timedelta(minutes=1)
    assert SagaRow.get_by_id("unfit").due_at == in_a_minute
    caplog.clear()
    assert "unfit/finish/do" in sent(store.sweep(BEFORE, in_a_minute))
    assert "stays" not in caplog.text


def test_store_keeps_to_its_own_database(store):
    request = Start("new", Begin(goods="x"), "key")
    store.start(BEFORE, [request], LATER)
    elsewhere = connect("sqlite://")
    bind(elsewhere, saga_store.TABLES)
    ((state, commands),) = store.start(BEFORE, [replace(request, saga_id="newer")], LATER)
    assert (state.id, commands) == ("new", [])
    assert store.sweep(RENAMED, LATER) == []
    bind(store.database, saga_store.TABLES)
    assert SagaRow.get_by_id("unfit").due_at == LATER + timedelta(minutes=1)
    elsewhere.close()
