"""A saga whose transition raises an error is given up, and holds up none of the others."""

import math
from datetime import UTC, datetime, timedelta

import peewee
import pytest
from pydantic import field_serializer, field_validator

from saga.runtime import (
    Command,
    Event,
    Message,
    Retry,
    Saga,
    Step,
    saga_queries,
    saga_store,
    transition,
)
from saga.runtime.database.schema import bind
from saga.runtime.envelope import Reply
from saga.runtime.saga_store import SagaStore, Start

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(seconds=20)
ZONES = {"DE": "eu-1"}
CH = '{"country": "CH"}'  # which no zone is for
DE = '{"country": "DE"}'


def known(country):
    if country == "away":
        raise peewee.OperationalError("the zones' database is away")
    return ZONES[country] and country


class Begin(Message):
    pass


class Booked(Event, topic="breaks.events"):
    country: str


class Freed(Event, topic="breaks.events"):
    pass


class Book(Command, topic="breaks.book", event=Booked):
    pass


class Free(Command, topic="breaks.free", event=Freed):
    pass


class Pick(Command, topic="breaks.pick", event=Freed):
    pass


class Ship(Command, topic="breaks.ship", event=Freed):
    country: str

    _known = field_validator("country")(known)


class Zoned(Event, topic="breaks.events"):
    country: str

    _known = field_validator("country")(known)


class BookZone(Command, topic="breaks.book_zone", event=Zoned):
    pass


TWICE = Retry(attempts=2)
SHIPPED = Saga("breaks", start=Begin, steps=[Step(Book, undo=Free), Step(Ship)])
UNSHIPPED = Saga(
    "breaks", start=Begin, steps=[Step(Book, undo=Free), Step(Pick, undo=Ship, retry=TWICE)]
)
ZONED = Saga("breaks", start=Begin, steps=[Step(BookZone, undo=Free, retry=TWICE)])


@pytest.fixture
def store(database):
    bind(database, saga_store.TABLES)
    return SagaStore(database)


def begin(store, declared):
    store.start(declared, [Start(i, Begin()) for i in ("a", "b")], NOW)


class Placed(Message):
    country: str


class Odd(Message):
    country: str

    @field_serializer("country")
    def _zone(self, country):
        return ZONES[country]


def test_message_that_can_not_be_written_down_is_its_starters_error(store):
    declared = Saga("odd", start=Odd, steps=[Step(Book)])
    odd, good = (Odd(country=name) for name in ("CH", "DE"))
    refused, begun = store.start(declared, [Start("a", odd), Start("b", good)], NOW)
    assert isinstance(refused, Exception)
    assert "CH" in str(refused)
    assert sent(begun[1]) == ["b/book/do"]
    assert [state.id for state in saga_queries.page(store.database, 9)] == ["b"]


def reply(saga_id, step, data="{}", attempt=1, action="do", outcome="done"):
    return Reply(saga_id, step, action, outcome, attempt, data)


def sent(commands):
    return [command.id for command in commands]


def saga(store, saga_id):
    return saga_queries.find(store.database, saga_id)


def statuses(store, saga_id):
    return [step.status for step in saga(store, saga_id).steps]


def test_command_whose_validator_raises_is_that_sagas_failure(store):
    begin(store, SHIPPED)
    replies = [reply("a", "book", CH), reply("b", "book", DE)]
    assert sent(store.advance(SHIPPED, replies, NOW)) == ["a/book/undo", "b/ship/do"]
    failure = saga(store, "a").failure
    assert (failure.step, failure.code) == ("ship", "invalid_command")
    assert failure.message == "KeyError: 'CH'"
    assert saga(store, "b").status == "RUNNING"


def test_timeout_beyond_all_time_is_that_sagas_failure(store):
    begin(store, SHIPPED)
    without_end = Step(Ship)
    object.__setattr__(without_end, "timeout", math.inf)  # past all checks of a declaration
    declared = Saga("breaks", start=Begin, steps=[Step(Book, undo=Free), without_end])
    assert sent(store.advance(declared, [reply("a", "book", DE)], NOW)) == ["a/book/undo"]
    assert saga(store, "a").failure.code == "invalid_command"


def test_saga_that_raises_when_it_is_due_is_given_up_then(store, monkeypatch):
    begin(store, SHIPPED)
    on_due = transition.on_due

    def raise_for_one(declared, state, now):
        if state.id == "a":
            raise ValueError("odd")
        return on_due(declared, state, now)

    monkeypatch.setattr(transition, "on_due", raise_for_one)
    assert sorted(sent(store.sweep(SHIPPED, LATER))) == ["a/book/undo", "b/book/do"]
    given_up = saga(store, "a")
    assert (given_up.failure.message, given_up.updated_at) == ("ValueError: odd", LATER)


def test_back_off_beyond_all_time_is_that_sagas_failure(store, monkeypatch):
    monkeypatch.setattr(
        Retry, "delay", lambda _, attempt, seed: math.inf if seed.startswith("a/") else 0.1
    )
    begin(store, SHIPPED)
    failed = [reply(i, "book", outcome="failed") for i in ("a", "b")]
    assert sent(store.advance(SHIPPED, failed, NOW)) == ["a/book/undo"]
    failure = saga(store, "a").failure
    assert (failure.code, failure.step) == ("invalid_command", "book")
    assert failure.message == "OverflowError: cannot convert float infinity to integer"
    assert saga(store, "b").status == "RUNNING"


def fail_to_undo(store):
    """Cancel a saga whose undo can't be built: it needs a zone for what was booked."""
    begin(store, UNSHIPPED)
    store.advance(UNSHIPPED, [reply("a", "book", CH), reply("b", "book", DE)], NOW)
    for saga_id in ("a", "b"):
        store.cancel(UNSHIPPED, saga_id, NOW)


def test_undo_that_can_not_be_built_is_left_to_a_person_who_retries_it(store, monkeypatch):
    fail_to_undo(store)
    assert statuses(store, "a") == ["UNDOING", "UNDO_FAILED"]
    assert saga(store, "a").steps[1].error.code == "invalid_command"
    assert statuses(store, "b") == ["DONE", "UNDOING"]
    store.advance(UNSHIPPED, [reply("a", "book", action="undo")], NOW)
    assert saga(store, "a").status == "FAILED"
    monkeypatch.setitem(ZONES, "CH", "eu-2")
    _, commands = store.retry(UNSHIPPED, "a", LATER)
    assert sent(commands) == ["a/pick/undo"]
    store.advance(UNSHIPPED, [reply("a", "pick", action="undo", attempt=2)], LATER)
    assert saga(store, "a").status == "COMPENSATED"


def test_event_whose_validator_raises_is_a_fault(store):
    begin(store, ZONED)
    replies = [reply("a", "book_zone", CH), reply("b", "book_zone", DE)]
    assert store.advance(ZONED, replies, NOW) == []
    assert saga(store, "a").steps[0].error.code == "invalid_event"
    assert saga(store, "a").steps[0].error.message == "KeyError: 'CH'"
    assert saga(store, "b").status == "COMPLETED"


def test_database_that_is_away_at_the_start_is_told_as_that(store):
    declared = Saga("odd", start=Placed, steps=[Step(Ship)])
    with pytest.raises(peewee.OperationalError, match="away"):
        store.start(declared, [Start("a", Placed(country="away"))], NOW)


@pytest.mark.parametrize(("declared", "step"), [(SHIPPED, "book"), (ZONED, "book_zone")])
def test_database_that_is_away_is_nobodys_failure(store, declared, step):
    begin(store, declared)
    with pytest.raises(peewee.OperationalError, match="away"):
        store.advance(declared, [reply("a", step, '{"country": "away"}')], NOW)
    assert saga(store, "a").status == "RUNNING"
