"""A bakery: a service of its own, small enough to be seen through."""

from datetime import UTC, datetime

import peewee
import pytest

from saga.runtime import Command, Event, Table
from saga.runtime.database.schema import bind
from saga.runtime.envelope import Envelope, decode
from saga.runtime.function import Function
from saga.runtime.inbox import InboxRow
from saga.runtime.worker import Worker

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Loaf(Table):
    name = peewee.CharField(unique=True, max_length=20)


class Baked(Event, topic="bakery.events"):
    name: str


class Eaten(Event, topic="bakery.events"):
    name: str


class Bake(Command, topic="bakery.bake", event=Baked):
    name: str


class Eat(Command, topic="bakery.eat", event=Eaten):
    name: str


class Bakery:
    """Two workers on one database: one bakes loaves, the other one eats them."""

    Loaf, Baked, Eaten = Loaf, Baked, Eaten

    def __init__(self, database):
        self.database, self.calls = database, []
        self.before, self.after = [], []  # what the next calls of `bake` do, once each
        self.clock = lambda: NOW
        bind(database, [InboxRow, Loaf])
        self.baker = self.worker("bakery.bake", Bake, self.bake)
        self.eater = self.worker("bakery.eat", Eat, self.eat)

    def worker(self, name, command, handler):
        function = Function(name, handler, "command", (command.topic,), command)
        worker = Worker(function, self.database, lambda: self.clock())
        worker.stopwatch = lambda: 0.0  # a slow machine must not end its batches
        return worker

    def bake(self, command):
        self.calls.append(f"bake {command.name}")
        if self.before:
            self.before.pop(0)()
        Loaf.insert(name=command.name).execute()
        if self.after:
            return self.after.pop(0)() or Baked(name=command.name)
        return Baked(name=command.name)

    def eat(self, command):
        self.calls.append(f"eat {command.name}")
        Loaf.delete().where(Loaf.name == command.name).execute()
        return Eaten(name=command.name)

    def bake_record(self, name="rye", saga_id="s", **changes):
        return self._record(Bake, f"{saga_id}/bake/do", name, changes)

    def eat_record(self, name="rye", saga_id="s", **changes):
        return self._record(Eat, f"{saga_id}/bake/undo", name, changes)

    def _record(self, command, identifier, name, changes):
        data = command(name=name).model_dump_json()
        sent = Envelope(command.topic, identifier, command.__name__, "/saga", "now", data)
        return sent._replace(**changes).record()

    def fails_next(self, error):
        def fail():
            raise error

        self.after.append(fail)

    @property
    def loaves(self):
        return sorted(loaf.name for loaf in Loaf.select())

    @property
    def inbox(self):
        return {row.id: row.outcome for row in InboxRow.select()}


@pytest.fixture
def bakery(database):
    return Bakery(database)


@pytest.fixture
def open_bakery():
    """Open bakeries on other databases."""
    return Bakery


@pytest.fixture
def outcomes():
    """Read replies as `(id, outcome)`."""
    return lambda records: [(e.id, e.outcome) for e in map(decode, records)]
