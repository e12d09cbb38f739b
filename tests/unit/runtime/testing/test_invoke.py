"""`invoke`: one function, as its worker runs it; faults, crashes, duplicates and fences at will."""

import json
from datetime import UTC, datetime

import peewee
import pytest

from saga.runtime import Command, Event, Rejected, Table, function
from saga.runtime.clock import utcnow
from saga.runtime.envelope import decode
from saga.runtime.errors import ContractError
from saga.runtime.testing import (
    CRASH_POINTS,
    FrozenClock,
    InjectedFault,
    SimulatedCrash,
    invoke,
)


class Seat(Table):
    number = peewee.IntegerField(primary_key=True)
    guest = peewee.CharField(null=True)


class Booking(Table):
    seat = peewee.IntegerField()
    made = peewee.CharField()


class Sold(Event, topic="theatre.events"):
    seat: int


class Freed(Event, topic="theatre.events"):
    seat: int


class Sell(Command, topic="theatre.sell", event=Sold):
    seat: int
    guest: str


class Free(Command, topic="theatre.free", event=Freed):
    seat: int


class Announced(Event, topic="theatre.events"):
    key: str


class Announce(Command, topic="theatre.announce", event=Announced):
    seat: int


class Close(Command, topic="theatre.close", event=Freed):
    seat: int


@function
def sell(command: Sell) -> Sold:
    Booking.create(seat=command.seat, made=utcnow().isoformat())
    free = (Seat.number == command.seat) & Seat.guest.is_null()
    if not Seat.update(guest=command.guest).where(free).execute():
        raise Rejected("taken", f"seat {command.seat} is taken")
    return Sold(seat=command.seat)


@function
def free(command: Free) -> Freed:
    Booking.delete().where(Booking.seat == command.seat).execute()
    Seat.update(guest=None).where(Seat.number == command.seat).execute()
    return Freed(seat=command.seat)


@function
def close(command: Close) -> Freed:
    Seat.delete_by_id(command.seat)
    raise ZeroDivisionError("no such row\nat all")


@pytest.fixture(autouse=True)
def _theatre(saga_database):
    saga_database(Seat, Booking)
    for number in (1, 2):
        Seat.create(number=number)


ANN = Sell(seat=1, guest="Ann")
BOB = Sell(seat=1, guest="Bob")


def guests():
    return [seat.guest for seat in Seat.select().order_by(Seat.number)]


def test_tables_may_be_on_a_database_of_peewees_own() -> None:
    database = peewee.SqliteDatabase(":memory:")
    with database.bind_ctx([Seat]):
        Seat.create_table()
        Seat.create(number=7)
        assert invoke(sell, Sell(seat=7, guest="Ada")).event == Sold(seat=7)
        assert Seat.get_by_id(7).guest == "Ada"
    database.close()


def test_event_is_returned():
    result = invoke(sell, ANN)
    assert (result.outcome, result.ran, result.duplicate) == ("done", True, False)
    assert result.event == Sold(seat=1)


def test_what_was_stored_is_told_by_table(frozen_clock):
    result = invoke(sell, ANN)
    assert result.stored[Seat].updated == [
        ({"number": 1, "guest": None}, {"number": 1, "guest": "Ann"})
    ]
    (booking,) = result.stored[Booking].inserted
    assert booking == {"id": 1, "seat": 1, "made": frozen_clock.now.isoformat()}
    assert result.stored[Seat].inserted == result.stored[Seat].deleted == []
    freed = invoke(free, Free(seat=1), undo_of=result)
    assert freed.stored[Booking].deleted == [booking]


def test_inbox_has_the_answer():
    result = invoke(sell, ANN, message_id="s")
    assert result.inbox.outcome == "done"
    assert json.loads(result.inbox.data) == {"seat": 1}


def test_record_is_what_the_worker_sends():
    reply = decode(invoke(sell, ANN, message_id="s").record)
    assert (reply.topic, reply.id, reply.type) == ("theatre.events", "s/sell/do/reply", "Sold")


def test_rejection_leaves_no_effect():
    invoke(sell, ANN)
    result = invoke(sell, BOB)
    assert (result.rejection.code, result.rejection.message) == ("taken", "seat 1 is taken")
    assert (result.stored, result.inbox.outcome) == ({}, "rejected")


def test_fault_leaves_no_effect_and_no_answer():
    result = invoke(close, Close(seat=1))
    assert result.fault.code == "ZeroDivisionError"
    assert (result.outcome, result.stored, result.inbox) == ("failed", {}, None)


def test_duplicate_gets_the_same_answer_without_the_handler():
    first = invoke(sell, ANN, message_id="s")
    again = invoke(sell, ANN, message_id="s")
    assert (again.duplicate, again.ran, again.stored) == (True, False, {})
    assert again.record == first.record


def test_message_without_an_id_is_a_new_one():
    invoke(sell, ANN)
    assert invoke(sell, ANN).rejection.code == "taken"


def test_undo_of_a_result_undoes_it():
    done = invoke(sell, ANN)
    undone = invoke(free, Free(seat=1), undo_of=done)
    assert undone.id == done.id.replace("/do", "/undo")
    assert (undone.event, guests()) == (Freed(seat=1), [None, None])


def test_undo_of_nothing_is_skipped_and_fences_the_do():
    undone = invoke(free, Free(seat=1), undo_of="s/sell/do")
    assert (undone.outcome, undone.skipped, undone.ran) == ("done", True, False)
    late = invoke(sell, ANN, message_id="s")
    assert (late.fenced, late.ran, late.rejection.code) == (True, False, "cancelled")
    assert guests() == [None, None]


def test_injected_faults_come_after_the_handlers_writes():
    for _ in range(2):
        failed = invoke(sell, ANN, message_id="s", fail_times=2)
        assert (failed.fault.code, failed.ran) == (InjectedFault.__name__, True)
        assert guests() == [None, None]
    assert invoke(sell, ANN, message_id="s", fail_times=2).event == Sold(seat=1)


def test_faults_are_counted_for_each_message():
    assert invoke(sell, ANN, message_id="s", fail_times=1).outcome == "failed"
    assert invoke(sell, ANN, message_id="t", fail_times=1).outcome == "failed"


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_crash_is_healed_by_the_redelivery(point):
    with pytest.raises(SimulatedCrash, match=f"sell crashed at {point}"):
        invoke(sell, ANN, message_id="s", crash_at=point)
    committed = point.startswith("after")
    assert guests() == (["Ann", None] if committed else [None, None])
    healed = invoke(sell, ANN, message_id="s")
    assert (healed.duplicate, healed.ran) == (committed, not committed)
    assert (healed.event, guests()) == (Sold(seat=1), ["Ann", None])
    assert Booking.select().count() == 1


def test_unknown_crash_point_is_refused():
    with pytest.raises(ContractError, match="crash_at is 'lunch', not one of before_handler"):
        invoke(sell, ANN, crash_at="lunch")


@pytest.mark.parametrize(
    ("body", "reason", "outcome"),
    [
        ({"seat": "front", "guest": "Ann"}, "seat: Input should be a valid integer", "rejected"),
        ({"seat": 1}, "guest: Field required", "rejected"),
        (Free(seat=1), "ce_type is 'Free', this topic takes 'Sell'", None),
    ],
)
def test_unreadable_command_becomes_a_dead_letter(body, reason, outcome):
    result = invoke(sell, body)
    assert reason in result.dead_letter
    assert (result.outcome, result.ran, result.stored) == (outcome, False, {})


def test_unreadable_command_is_refused():
    result = invoke(sell, {"seat": 1})
    assert result.rejection.code == "invalid_command"
    assert "was rejected: invalid_command: guest: Field required" in str(result)


@function(outside=True)
def announce(command: Announce, key: str) -> Announced:
    return Announced(key=key)


def test_handler_that_acts_outside_is_given_its_commands_id():
    result = invoke(announce, Announce(seat=1), message_id="s", fail_times=1)
    assert result.fault.code == "InjectedFault"
    assert invoke(announce, Announce(seat=1), message_id="s").event.key == "s/announce/do"


@pytest.mark.parametrize("crash_at", ["in_handler", "before_commit"])
def test_undo_of_what_began_outside_runs_after_a_crash(crash_at):
    with pytest.raises(SimulatedCrash):
        invoke(announce, Announce(seat=1), message_id="s", crash_at=crash_at)
    assert invoke(free, Free(seat=1), undo_of="s/announce/do").ran


def test_malformed_id_becomes_a_dead_letter():
    assert "not of the form" in invoke(sell, ANN, message_id="s/sell").dead_letter


def test_command_may_be_a_mapping():
    assert invoke(sell, {"seat": "1", "guest": "Ann"}).event == Sold(seat=1)


def test_time_is_the_given_clocks():
    clock = FrozenClock(datetime(2030, 1, 1, tzinfo=UTC))
    result = invoke(sell, ANN, clock=clock)
    assert (
        result.stored[Booking].inserted[0]["made"]
        == result.inbox.time
        == "2030-01-01T00:00:00+00:00"
    )


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: invoke(sell, BOB).event, "no event: test-2/sell/do was rejected: taken: seat 1"),
        (lambda: invoke(close, Close(seat=1)).event, "no event: test-2/close/do failed: ZeroDiv"),
        (lambda: invoke(sell, {}).event, "do was rejected: invalid_command: seat: Field required"),
        (lambda: invoke(sell, ANN, message_id="s/sell").event, "no event: s/sell became a dead"),
        (lambda: invoke(free, Free(seat=1), undo_of="s/sell/do").event, "nothing to undo"),
        (
            lambda: invoke(free, Free(seat=1)).rejection,
            r"no rejection: test-2/free/do is done: Freed\(seat=1\)",
        ),
        (lambda: invoke(sell, BOB).fault, "no fault: test-2/sell/do was rejected"),
        (lambda: invoke(sell, BOB).dead_letter, "no dead letter: test-2/sell/do was rejected"),
    ],
)
def test_asking_for_another_outcome_says_what_it_was(ask, said):
    invoke(sell, ANN)
    with pytest.raises(AssertionError, match=f"there is .*{said}"):
        ask()


def test_undecorated_function_is_refused():
    with pytest.raises(ContractError, match="lacks the decorator"):
        invoke(guests, ANN)  # type: ignore[arg-type]


def test_function_without_a_command_is_refused():
    @function(every=1.0)
    def tick(now):
        return []

    with pytest.raises(ContractError, match="takes no commands"):
        invoke(tick, {})


def test_databases_error_ends_the_invocation(saga_database):
    database = saga_database(Seat, Booking)
    invoke(free, Free(seat=1))
    database.execute_sql("DROP TABLE inbox")
    with pytest.raises(peewee.ProgrammingError, match="inbox"):
        invoke(free, Free(seat=1))
