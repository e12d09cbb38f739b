"""A timer among crashes, refusals and a broken database: what it asks for arrives."""

from dataclasses import replace
from functools import partial

import peewee

from saga.runtime import outbox
from saga.runtime.database.schema import Table, bind
from saga.runtime.envelope import Envelope
from saga.runtime.function import Function
from saga.runtime.simulation.database import SimulatedDatabase
from saga.runtime.simulation.invariants import trace_of
from saga.runtime.simulation.nemesis import WORST
from saga.runtime.simulation.process import Process
from saga.runtime.simulation.world import World
from saga.runtime.timer import Timer

TOPIC = "mail.remind"
FAULTS = replace(WORST, lose=0.0, crash=0.1, refuse=0.3)  # nobody sends again what was taken


class Invoice(Table):
    """One that is to be reminded of."""

    reminded = peewee.BooleanField(default=False)


def remind_debtors(now):
    due = list(Invoice.select().where(~Invoice.reminded).limit(3))
    Invoice.update(reminded=True).where(Invoice.id.in_([one.id for one in due])).execute()
    return [remind(str(one.id), now.isoformat()) for one in due]


def remind(key, time):
    trace = trace_of(key)
    return Envelope(TOPIC, f"{key}/remind/do", "Remind", "/", time, "{}", traceparent=trace)


def arrived(seed):
    """Let two replicas tick for a while, restarted where they die; return what the broker has."""
    function = Function("billing.remind_debtors", remind_debtors, "timer", (), every=1.0)
    database = SimulatedDatabase("billing")
    bind(database, [Invoice, *outbox.TABLES])
    for _ in range(10):
        Invoice.create()
    world = World(seed, {TOPIC: 1}, story=False)
    world.nemesis.faults = FAULTS
    found, append = set(), world.broker.append

    def take(record, lag=0.0):
        found.add(record.key)
        append(record, lag)

    world.broker.append = take

    def start(name):
        Process(name, function, database, world, lambda _: world.after(1.0, partial(start, name)))

    with database.disturbed_by(world.nemesis, world.tell):
        start("a")
        start("b")
        world.pass_time(60.0)
        world.calm()
        world.pass_time(60.0)
    assert world.invariants.violations == []
    assert Invoice.select().where(~Invoice.reminded).count() == 0
    database.end()
    return len(found)


def test_each_invoice_that_is_marked_is_reminded_of() -> None:
    assert [arrived(seed) for seed in range(10)] == [10] * 10


def test_commands_that_are_deleted_before_they_are_taken_are_missed(monkeypatch) -> None:
    tick = Timer._tick

    def lossy(self):
        commands = tick(self)
        if commands:  # with none, it would be due again at once, for ever
            self._delete(commands)
        return commands

    monkeypatch.setattr(Timer, "_tick", lossy)
    assert any(arrived(seed) < 10 for seed in range(10))
