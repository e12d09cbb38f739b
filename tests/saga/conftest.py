"""A story of the order saga, and a shop: the whole order system in one process."""

import json
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from saga.functions.orchestrator.place_order import PlaceOrder, place_order
from saga.functions.order.messages import OrderCompleted, OrderCreated
from saga.functions.order.store import Order
from saga.functions.product.messages import ProductReserved
from saga.functions.product.store import Product, Reservation
from saga.functions.user.messages import PaymentProcessed
from saga.functions.user.store import Payment, User
from saga.runtime import Retry, Saga, intervention, saga_queries, transition
from saga.runtime.database.connection import connect
from saga.runtime.database.schema import bind
from saga.runtime.envelope import Reply
from saga.runtime.problem import Problem
from saga.runtime.saga_host import HostedSaga, SagaHost
from saga.runtime.saga_rows import SagaRow
from saga.runtime.saga_store import SagaStore, Start
from saga.runtime.settings import Settings
from saga.runtime.system.stack import read_stacks
from saga.runtime.testing import given
from saga.runtime.worker import Worker

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ORDER = UUID(int=1)
START = PlaceOrder(order_id=ORDER, user_id=3, product_id=7, quantity=2)
RESERVED = ProductReserved(order_id=ORDER, total=Decimal("5.00"))
FEW: dict[str, Any] = {"retry": Retry(attempts=3), "undo_retry": Retry(attempts=2)}
SAGA = Saga(
    "story",
    start=PlaceOrder,
    steps=[replace(step, **FEW) for step in place_order.steps],
)


MOVES = {transition: ("start", "on_reply", "on_due"), intervention: ("cancel", "retry", "skip")}


def made_twice(move, sagas):
    """See that a move is a pure function; `sagas` are those seen, and as they were at first."""

    def twice(saga, *arguments):
        if id(saga) not in sagas:
            sagas[id(saga)] = saga, deepcopy(saga)
        before = deepcopy(arguments)
        result, again = move(saga, *arguments), move(saga, *arguments)
        assert result == again, "same inputs, same outputs"
        assert (saga, arguments) == (sagas[id(saga)][1], before), "inputs stay as they are"
        return result

    return twice


@pytest.fixture
def tell(monkeypatch):
    """Begin stories of other sagas than the order's."""
    sagas = {}
    for module, names in MOVES.items():
        for name in names:
            monkeypatch.setattr(module, name, made_twice(getattr(module, name), sagas))
    return lambda *steps, **policy: given(
        Saga("story", start=PlaceOrder, steps=list(steps), **policy), START
    )


@pytest.fixture
def story(tell):
    """An order that has been placed: to be created."""
    return tell(*SAGA.steps)


@pytest.fixture
def created(story):
    """The same story later: the product is to be reserved."""
    return story.reply(OrderCreated(order_id=ORDER))


@pytest.fixture
def reserved(created):
    """The same story later: to be paid."""
    return created.reply(RESERVED)


@pytest.fixture
def paid(reserved):
    """The same story later: to be completed."""
    return reserved.reply(PaymentProcessed(order_id=ORDER))


@pytest.fixture
def completed(paid):
    return paid.reply(OrderCompleted(order_id=ORDER))


@pytest.fixture
def compensated(created):
    return created.reject("no_stock").reply()


@pytest.fixture
def failed(created):
    return created.reject("no_stock").reject("no_undo")


@pytest.fixture
def hear(story):
    """Tell what any reply would lead to, one that no service sends too; the story stays there."""

    def hear(step, action="do", outcome="done", *, data=None, attempt=1, place=""):
        if data is None:
            problem = Problem(code="no", message="because")
            data = (RESERVED if outcome == "done" else problem).model_dump_json()
        reply = Reply(story.state.id, step, action, outcome, attempt, data, place)
        return transition.on_reply(SAGA, story.state, reply, story.now)

    return hear


@pytest.fixture
def sweep(story):
    """Tell what a sweep so much later would lead to; the story stays there."""
    return lambda **later: transition.on_due(SAGA, story.state, story.now + timedelta(**later))


class Shop:
    """The whole system in one process: the broker is a list.

    The test kit moves one function or one saga. Here all of them meet, through workers and inboxes
    on a database for each service, and a test may lose, repeat and reorder what is sent.
    """

    def __init__(self, connect_to, stock=10, balance="100.00", **handlers):
        self.now, self.queue, self.sent, self.readers, self.workers = NOW, [], [], {}, {}
        self.databases, self.ended = {}, []
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
        worker = Worker(replace(hosted, handler=handler), database, lambda: self.now)
        worker.stopwatch = lambda: 0.0  # a slow machine must not end its batches
        return worker

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
        host = self.workers["orchestrator.place_order"]
        swept = host.sweep()
        self._send(swept)
        host.note_sent(swept)

    def deliver_alone(self, record):
        self.deliver(self.readers[record.topic], [record])

    def deliver_first(self, count):
        """Deliver so many messages, each alone, with those that they lead to at the queue's end."""
        for _ in range(count):
            self.deliver_alone(self.queue.pop(0))

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
        told = [record for record in records if record.topic == place_order.ended_topic]
        records = [record for record in records if record not in told]
        self.ended += [json.loads(record.value)["id"] for record in told]
        self.queue += records
        self.sent += records


def in_memory(service):
    return connect("sqlite://")


@pytest.fixture(scope="session")
def connect_to_schema(postgres_url):
    """Connect to one schema per service, emptied; the connections are those of the shop before."""
    connected = {}

    def connect_to(service):
        schema = f"whole_{service}"
        if service not in connected:
            connected[service] = connect(f"{postgres_url}&options=-csearch_path%3D{schema}")
        database = connected[service]
        database.execute_sql("DISCARD ALL")
        database.execute_sql("SET client_min_messages = warning")
        database.execute_sql(f"DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}")
        return database

    yield connect_to
    for database in connected.values():
        database.close()


@pytest.fixture
def shop(request):
    made = []
    connect_to = in_memory
    if getattr(request, "param", "sqlite") == "postgres":
        connect_to = request.getfixturevalue("connect_to_schema")

    def open_shop(**options):
        made.append(Shop(connect_to, **options))
        return made[-1]

    yield open_shop
    if connect_to is in_memory:
        for one in made:
            one.close()
