"""A language for one saga, and a shop: the whole order system in one process."""

from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from saga.functions.orchestrator.place_order import PlaceOrder, place_order
from saga.functions.order.store import Order
from saga.functions.product.store import Product, Reservation
from saga.functions.user.store import Payment, User
from saga.runtime import Command, Event, Message, Retry, Saga, Step, saga_queries, transition
from saga.runtime.database.connection import connect
from saga.runtime.database.schema import bind
from saga.runtime.envelope import Problem, Reply
from saga.runtime.saga_host import HostedSaga, SagaHost
from saga.runtime.saga_store import SagaRow, SagaStore, Start
from saga.runtime.settings import Settings
from saga.runtime.system.stack import read_stacks
from saga.runtime.worker import Worker

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Begin(Message):
    goods: int


class Happened(Event, topic="story.events"):
    pass


class Priced(Event, topic="story.prices"):
    price: int


class Make(Command, topic="story.make", event=Happened):
    saga_id: str
    goods: int


class Unmake(Command, topic="story.unmake", event=Happened):
    goods: int


class Reserve(Command, topic="story.reserve", event=Priced):
    goods: int


class Release(Command, topic="story.release", event=Happened):
    goods: int


class Pay(Command, topic="story.pay", event=Happened):
    price: int


class Refund(Command, topic="story.refund", event=Happened):
    price: int


class Finish(Command, topic="story.finish", event=Happened):
    pass


STEPS = [
    Step(Make, undo=Unmake, retry=Retry(attempts=3), undo_retry=Retry(attempts=2)),
    Step(Reserve, undo=Release, retry=Retry(attempts=3), undo_retry=Retry(attempts=2)),
    Step(Pay, undo=Refund, retry=Retry(attempts=3), undo_retry=Retry(attempts=2)),
    Step(Finish, retry=Retry(attempts=3)),
]
EVENTS = {"reserve": '{"price": 5}'}


class Story:
    """One saga, by hand. Every move is made twice, to see that it is a pure function."""

    def __init__(self, saga):
        self.saga, self.now, self.sent = saga, NOW, []
        self._move(transition.start, "s", Begin(goods=7), NOW)

    def _move(self, move, *arguments):
        before = deepcopy(arguments)
        result, again = move(self.saga, *arguments), move(self.saga, *arguments)
        assert result == again, "same inputs, same outputs"
        assert arguments == before, "inputs stay as they are"
        self.state, self.commands = result
        self.sent += [command.id for command in self.commands]
        return self

    def reply(self, step, action="do", outcome="done", *, data=None, attempt=1, saga_id="s"):
        if data is None:
            event = EVENTS.get(step, "{}") if action == "do" else "{}"
            problem = Problem(code=f"no_{step}", message="because").model_dump_json()
            data = event if outcome == "done" else problem
        reply = Reply(saga_id, step, action, outcome, attempt, data)
        return self._move(transition.on_reply, self.state, reply, self.now)

    def done(self, *steps):
        for step in steps:
            self.reply(step)
        return self

    def undone(self, *steps):
        for step in steps:
            self.reply(step, "undo")
        return self

    def rejected(self, step, action="do"):
        return self.reply(step, action, "rejected")

    def failed(self, step, action="do", attempt=1):
        return self.reply(step, action, "failed", attempt=attempt)

    def wait(self, **duration):
        """Let time pass, then sweep."""
        self.now += timedelta(**duration)
        return self._move(transition.on_due, self.state, self.now)

    def due(self):
        """Let time pass until the saga is due, then sweep."""
        self.now = self.state.due_at
        return self._move(transition.on_due, self.state, self.now)

    def cancel(self):
        return self._move(transition.cancel, self.state, self.now)

    def retry(self):
        return self._move(transition.retry, self.state, self.now)

    @property
    def steps(self):
        return {step.name: step.status for step in self.state.steps}

    def step(self, name):
        return next(step for step in self.state.steps if step.name == name)


@pytest.fixture
def story():
    return Story(Saga("story", start=Begin, steps=STEPS))


@pytest.fixture
def tell():
    """Begin stories of other sagas."""
    return lambda *steps, **policy: Story(Saga("story", start=Begin, steps=list(steps), **policy))


class Shop:
    """The whole system in one process: the broker is a list."""

    def __init__(self, connect_to, stock=10, balance="100.00", **handlers):
        self.now, self.queue, self.sent, self.readers, self.workers = NOW, [], [], {}, {}
        self.databases = {}
        for stack in read_stacks(Settings().saga_stacks):
            database = self.databases[stack.service] = connect_to(stack.service)
            for hosted, _ in stack.load():
                bind(database, hosted.tables())
                self.workers[hosted.name] = self._loop(hosted, database, handlers)
                self.readers |= dict.fromkeys(hosted.topics, hosted.name)
        Product.create(id=7, name="Tea", price=Decimal("19.99"), stock=stock)
        User.create(id=3, name="Ann", email="ann@example.com", balance=Decimal(balance))

    def _loop(self, hosted, database, handlers):
        if isinstance(hosted, HostedSaga):
            return SagaHost(hosted, database, lambda: self.now)
        handler = handlers.get(hosted.name.partition(".")[2], hosted.handler)
        return Worker(replace(hosted, handler=handler), database, lambda: self.now)

    @property
    def store(self):
        return SagaStore(self.databases["orchestrator"])

    def close(self):
        for database in self.databases.values():
            database.close()

    def order(self, quantity=2, number=1, user=3, product=7):
        message = PlaceOrder(
            order_id=UUID(int=number), user_id=user, product_id=product, quantity=quantity
        )
        request = Start(str(UUID(int=1000 + number)), message)
        ((_, commands),) = self.store.start(place_order, [request], self.now)
        self._send([command.record() for command in commands])

    def deliver(self, name, records):
        self._send(self.workers[name].process(records))

    def sweep(self):
        self._send(self.workers["orchestrator.place_order"].sweep())

    def run(self):
        """Deliver, in batches, until nothing is left; sweep; until every saga has ended."""
        for _ in range(100):
            self.deliver_queue()
            due = [row.due_at for row in SagaRow.select() if row.due_at is not None]
            if not due:
                return
            self.now = max(self.now, min(due))
            self.sweep()
        pytest.fail("a saga never ends")

    def deliver_queue(self):
        while self.queue:
            queue, self.queue = self.queue, []
            for name in dict.fromkeys(self.readers[record.topic] for record in queue):
                self.deliver(name, [r for r in queue if self.readers[r.topic] == name])

    def dump(self):
        """Return every row of every table."""
        rows = {}
        for service, database in self.databases.items():
            for table in database.get_tables():
                found = database.execute_sql(f"SELECT * FROM {table}").fetchall()
                rows[service, table] = sorted(map(repr, found))
        return rows

    def effects(self):
        """Return what remains visible, without times and ids of rows."""
        return {
            "stock": Product.get().stock,
            "balance": User.get().balance,
            "orders": sorted((str(o.id), o.status, o.total) for o in Order.select()),
            "held": sorted((str(r.order_id), r.released) for r in Reservation.select()),
            "paid": sorted((str(p.order_id), p.refunded) for p in Payment.select()),
            "sagas": sorted((row.id, row.status) for row in SagaRow.select()),
        }

    def saga(self, number=1):
        return saga_queries.find(self.store.database, str(UUID(int=1000 + number)))

    def _send(self, records):
        assert not [record.topic for record in records if record.topic.endswith(".dlq")]
        self.queue += records
        self.sent += records


def in_memory(service):
    return connect("sqlite://")


def in_schemas_of(url):
    """One schema per service, emptied."""

    def connect_to(service):
        schema = f"whole_{service}"
        database = connect(f"{url}&options=-csearch_path%3D{schema}")
        database.execute_sql("SET client_min_messages = warning")
        database.execute_sql(f"DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}")
        return database

    return connect_to


@pytest.fixture
def shop(request):
    made = []
    connect_to = in_memory
    if getattr(request, "param", "sqlite") == "postgres":
        connect_to = in_schemas_of(request.getfixturevalue("postgres_url"))

    def open_shop(**options):
        made.append(Shop(connect_to, **options))
        return made[-1]

    yield open_shop
    for one in made:
        one.close()
