"""A timer: what it asks for is stored with its writes, and sent until the broker has it."""

import sys
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import peewee
import pytest

from saga.runtime import crash, outbox
from saga.runtime import loop as module
from saga.runtime.clock import microseconds
from saga.runtime.database.connection import connect
from saga.runtime.database.schema import Table, bind
from saga.runtime.envelope import Envelope
from saga.runtime.errors import BrokerUnavailable, ContractError
from saga.runtime.function import Function
from saga.runtime.observer import Observer
from saga.runtime.outbox import DueRow, OutboxRow
from saga.runtime.retry import Retry
from saga.runtime.timer import CLOCKS_DIFFER, Timer

NAME, EVERY = "billing.remind_debtors", 7.5  # seconds
NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(seconds=2)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(module, "WAIT", Retry(first=0.0))


class Reminded(Table):
    """What the handler writes."""

    number = peewee.IntegerField()


class Killed(BaseException):
    """The process dies."""


def remind(number):
    return Envelope(
        "mail.remind",
        f"invoice-{number}/remind/do",
        "Remind",
        "/billing",
        NOW.isoformat(),
        '{"text": "grüß"}',
        traceparent="00-1",
    )


class Billing:
    """Timers on one database; `results` are what the next ticks return, `sent` what was sent."""

    def __init__(self, database, *results):
        self.database, self.results = database, list(results)
        self.now, self.ticks, self.waits = NOW, 0, []
        self.sent, self.fail, self.stop = [], [], threading.Event()
        self.send_mails: Any = lambda: None  # what the handler does besides
        self.stop.wait = self.waits.append  # type: ignore[assignment]
        bind(database, [*outbox.TABLES, Reminded])

    def timer(self, points=crash.DISARMED, every=EVERY):
        function = Function(NAME, self.tick, "timer", (), every=every)
        return Timer(function, self.database, lambda: self.now, points)

    def tick(self, now):
        self.ticks += 1
        result = self.results.pop(0)
        if isinstance(result, Exception):
            raise result
        for number in result:
            Reminded.create(number=number)
        self.send_mails()
        return [remind(number) for number in result]

    def send(self, records):
        records = list(records)
        if records and self.fail:
            raise self.fail.pop()
        self.sent += records
        if not records:
            self.stop.set()

    def run(self, timer):
        self.stop.clear()
        timer.run(self.send, self.stop)


class DiesAt:
    """Crash points of which one raises."""

    def __init__(self, point):
        self.point = point

    def reach(self, point, in_hand):
        if point == self.point and in_hand:
            raise Killed


@pytest.fixture
def billing(database):
    return lambda *results: Billing(database, *results)


def records(*numbers):
    return [remind(number).record() for number in numbers]


def test_timer_waits_when_it_had_nothing_to_do(billing):
    bills = billing([])
    bills.run(bills.timer())
    assert (bills.ticks, bills.waits) == (1, [EVERY])


def test_crash_points_are_told_what_is_in_hand(billing):
    told = []

    class Told(crash.CrashPoints):
        def reach(self, point, in_hand):
            told.append((point, in_hand))

    bills = billing([1])
    timer = bills.timer(Told("", None))
    bills.send = lambda records: bills.stop.set()
    bills.run(timer)
    (_, [command]) = told[-1]
    assert command.record == records(1)[0]
    points = (crash.BEFORE_COMMIT, crash.AFTER_COMMIT, crash.AFTER_SEND)
    before = (crash.BEFORE_HANDLER, [timer.function])
    assert told == [before, *((point, [command]) for point in points)]


def test_commands_go_on_with_the_trace_of_their_tick_or_their_own(billing):
    told = []

    class Traced(Observer):
        @contextmanager
        def ticking(self, began, /):
            told.append(began)
            yield "00-2"
            told.append("called")

        def ticked(self, began, ended, commands):
            told.append((began, ended, commands))

    def tick(now):
        bills.now = LATER
        return [remind(1), remind(2)._replace(traceparent=None)]

    bills = billing()
    bills.tick = tick
    timer = bills.timer()
    timer.observer = Traced()
    sent = [dict(command.record.headers)["traceparent"] for command in timer.tick()]
    assert sent == [b"00-1", b"00-2"]
    assert told == [began := microseconds(NOW), "called", (began, microseconds(LATER), 2)]


def test_timer_goes_on_at_once_when_it_had_something_to_do(billing):
    bills = billing([1, 2], [])
    bills.run(bills.timer())
    assert (bills.ticks, bills.waits) == (2, [EVERY])
    assert bills.sent == records(1, 2)


def test_time_that_a_tick_takes_counts_as_waited(billing):
    bills = billing([])
    timer = bills.timer()
    tick = timer.function.handler

    def slow(now):
        bills.now += timedelta(seconds=2.5)
        return tick(now)

    timer.function = Function(NAME, slow, "timer", (), every=EVERY)
    bills.run(timer)
    assert bills.waits == [EVERY - 2.5]


def test_what_was_sent_is_forgotten(billing):
    bills = billing([1], [])
    bills.run(bills.timer())
    assert OutboxRow.select().count() == 0


def test_timer_is_due_at_once_only_when_what_was_sent_is_forgotten(billing, monkeypatch):
    bills = billing([1])

    def fail(*_):
        raise Killed

    monkeypatch.setattr(outbox, "delete", fail)
    with pytest.raises(Killed):
        bills.run(bills.timer())
    assert DueRow.get().due_at == NOW + timedelta(seconds=EVERY)


def test_brokers_absence_loses_no_command(billing):
    bills = billing([1, 2], [3], [])
    bills.fail = [BrokerUnavailable("away"), BrokerUnavailable("away")]
    bills.run(bills.timer())
    assert bills.sent == records(1, 2, 3)
    assert bills.ticks == 3


@pytest.mark.parametrize("point", [crash.AFTER_COMMIT, crash.AFTER_SEND])
def test_death_loses_no_command_and_they_are_sent_first(billing, point):
    bills = billing([1, 2], [3], [])
    with pytest.raises(Killed):
        bills.run(bills.timer(DiesAt(point)))
    died, bills.sent = list(bills.sent), []
    bills.run(bills.timer())  # long before the next tick is due
    assert bills.sent == records(1, 2, 3)
    assert died == (records(1, 2) if point == crash.AFTER_SEND else [])


def test_death_before_the_commit_leaves_nothing(billing):
    bills = billing([1], [1], [])
    with pytest.raises(Killed):
        bills.run(bills.timer(DiesAt(crash.BEFORE_COMMIT)))
    assert (Reminded.select().count(), OutboxRow.select().count()) == (0, 0)
    bills.run(bills.timer())
    assert bills.sent == records(1)


def test_handler_that_fails_has_asked_for_nothing_and_is_due_still(billing):
    bills = billing(ZeroDivisionError(), [1])
    timer = bills.timer()
    with pytest.raises(ZeroDivisionError):
        timer.tick()
    assert [record for _, record in timer.tick()] == records(1)


def test_handler_that_commits_is_told_whose_that_is_and_is_due_still(billing, monkeypatch):
    bills = billing([1], [1])
    monkeypatch.setattr(bills, "send_mails", bills.database.commit)
    with pytest.raises(ContractError, match="the runtime ends the transaction"):
        bills.timer().tick()
    monkeypatch.setattr(bills, "send_mails", lambda: None)
    assert [record for _, record in bills.timer().tick()] == records(1)
    assert Reminded.select().count() == 1


def test_handler_that_would_end_its_process_has_failed(billing, monkeypatch):
    bills = billing([1])
    monkeypatch.setattr(bills, "send_mails", sys.exit)
    with pytest.raises(ContractError, match=f"{NAME} raised SystemExit"):
        bills.timer().tick()


def test_commands_that_another_left_are_sent_with_the_next_tick(billing):
    bills = billing([], [1], [])
    other = bills.timer()
    bills.run(other)
    bills.now += timedelta(seconds=EVERY)
    assert len(bills.timer().tick()) == 1  # and this process is gone
    bills.now += timedelta(seconds=EVERY)
    bills.run(other)
    assert bills.sent == records(1)


def test_other_replica_is_not_due(billing):
    bills = billing([], [])
    one, other = bills.timer(), bills.timer()
    one.tick()
    bills.now += timedelta(seconds=EVERY - 1)
    bills.run(other)
    assert (bills.ticks, bills.waits) == (1, [1.0])
    bills.now += timedelta(seconds=1)
    other.tick()
    one.tick()
    assert bills.ticks == 2


def test_timers_of_one_database_have_nothing_to_do_with_each_other(billing):
    bills = billing([1], [])
    assert len(bills.timer().tick()) == 1
    function = Function("billing.close_year", bills.tick, "timer", (), every=EVERY)
    bills.run(Timer(function, bills.database, lambda: bills.now))
    assert (bills.ticks, bills.sent) == (2, [])


@pytest.mark.parametrize(
    ("shift", "every"), [(timedelta(days=-1), EVERY), (timedelta(0), 1.0)], ids=["clock", "version"]
)
def test_timer_is_due_where_nobody_can_have_meant_it_to_wait_so_long(billing, shift, every):
    bills = billing([], [])
    bills.timer(every=3600.0).tick()
    bills.now += shift
    bills.timer(every=every).tick()
    assert bills.ticks == 2


def test_clocks_that_differ_a_little_make_no_second_tick(billing):
    bills = billing([], [])
    bills.timer().tick()
    bills.now -= CLOCKS_DIFFER
    bills.run(bills.timer())
    assert (bills.ticks, bills.waits) == (1, [EVERY])


def test_more_than_is_sent_together_is_sent_all_the_same(billing, monkeypatch):
    bills = billing([1, 2, 3, 4, 5], [])
    monkeypatch.setattr(outbox, "SENT_TOGETHER", 2)
    with outbox._select.built_anew():
        bills.run(bills.timer())
    assert (bills.sent, bills.ticks) == (records(1, 2, 3, 4, 5), 2)


def test_timer_outlives_the_databases_absence(billing, monkeypatch):
    bills = billing([1], [])
    timer = bills.timer()
    tick, failures = timer.tick, [peewee.OperationalError("away")]

    def fail_first():
        if failures:
            raise failures.pop()
        return tick()

    monkeypatch.setattr(timer, "tick", fail_first)
    bills.run(timer)
    assert bills.sent == records(1)


def test_tick_whose_commit_was_not_heard_of_is_not_run_again(billing, monkeypatch):
    bills = billing([1], [])
    timer = bills.timer()
    work, failures = timer._tick, [peewee.OperationalError("the answer is lost")]

    def unheard():
        commands = work()
        if failures:
            raise failures.pop()
        return commands

    monkeypatch.setattr(timer, "_tick", unheard)
    assert [record for _, record in timer.tick()] == records(1)
    assert bills.ticks == 1


def test_tick_that_was_not_heard_of_is_looked_for_later_too(billing, monkeypatch):
    bills = billing([], [1], [])
    timer = bills.timer()
    bills.run(timer)
    bills.now += timedelta(seconds=EVERY)
    with monkeypatch.context() as patched:
        patched.setattr(timer, "_crash", DiesAt(crash.BEFORE_COMMIT))
        with pytest.raises(Killed):
            timer.tick()
    bills.results.insert(0, [1])
    bills.timer().tick()
    assert [record for _, record in timer.tick()] == records(1)


def test_what_another_replica_is_sending_is_not_sent_beside_it(billing):
    bills = billing([], [1])
    one, other = bills.timer(), bills.timer()
    bills.run(other)
    bills.now += timedelta(seconds=EVERY)
    assert len(one.tick()) == 1
    bills.run(other)
    assert bills.sent == []


def test_broker_is_asked_for_after_a_failure_alone(billing):
    bills, asked = billing([1], [2], []), []
    bills.fail = [BrokerUnavailable("away")]
    bills.timer().run(bills.send, bills.stop, lambda: asked.append(bills.ticks))
    assert asked == [1]


def test_handler_is_given_the_time_and_so_much_time(billing):
    bills, given = billing(), []

    def tick(now):
        given.append(now)
        return []

    class Limit:
        def __enter__(self):
            given.append("begin")

        def __exit__(self, *_):
            given.append("end")

    timer = bills.timer()
    timer.function = Function(NAME, tick, "timer", (), every=EVERY)
    timer.time_limit = Limit()
    timer.tick()
    assert given == ["begin", NOW, "end"]


def test_function_without_an_interval_is_no_timer(billing):
    with pytest.raises(ContractError, match="is no timer"):
        billing().timer(every=None)


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_tick_runs_once_however_many_want_it_at_once(billing, postgres_url, until):
    """On SQLite there is one writer anyway."""
    bills = billing([], [], [])
    bills.timer().tick()
    bills.now += timedelta(seconds=EVERY)
    watch = connect(postgres_url)

    def work():
        database = connect(postgres_url)
        function = Function(NAME, bills.tick, "timer", (), every=EVERY)
        Timer(function, database, lambda: bills.now).tick()
        database.close()

    other = threading.Thread(target=work)

    def other_waits():
        waiting = watch.execute_sql("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()
        return waiting[0] or not other.is_alive()

    def tick(now):
        other.start()
        until(other_waits, "the other one waits for this one")
        return bills.tick(now)

    Timer(Function(NAME, tick, "timer", (), every=EVERY), bills.database, lambda: bills.now).tick()
    other.join()
    watch.close()
    assert bills.ticks == 2
    assert DueRow.get().due_at == NOW + timedelta(seconds=2 * EVERY)
