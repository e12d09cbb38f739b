"""The saga as a list, and how its store drives it."""

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from saga.functions.orchestrator.place_order import PlaceOrder, place_order
from saga.runtime import saga_queries
from saga.runtime.database.schema import bind
from saga.runtime.envelope import Reply
from saga.runtime.saga_store import TABLES, SagaStore, Start

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SAGA = str(UUID(int=1))
ORDER = UUID(int=2)


@pytest.fixture
def store(sqlite):
    bind(sqlite, TABLES)
    return SagaStore(sqlite)


@pytest.fixture
def first(store):
    """The first command of a saga."""
    message = PlaceOrder(order_id=ORDER, user_id=3, product_id=4, quantity=5)
    ((_, (command,)),) = store.start(place_order, [Start(SAGA, message)], NOW)
    return command


def reply(step, **fields):
    data = json.dumps({"order_id": str(ORDER), **fields})
    return Reply(SAGA, step, "do", "done", 1, data)


def test_steps_and_undos_are_in_order():
    names = [(s.command.__name__, s.undo and s.undo.__name__) for s in place_order.steps]
    assert names == [
        ("CreateOrder", "CancelOrder"),
        ("ReserveProduct", "ReleaseProduct"),
        ("ProcessPayment", "RefundPayment"),
        ("CompleteOrder", None),
    ]


def test_steps_are_called_as_their_functions():
    names = [step.name for step in place_order.steps]
    assert names == ["create_order", "reserve_product", "process_payment", "complete_order"]


def test_saga_starts_by_creating_the_order(first):
    assert (first.topic, first.id) == ("order.create", f"{SAGA}/create_order/do")
    assert json.loads(first.data) == {
        "order_id": str(ORDER),
        "saga_id": SAGA,
        "user_id": 3,
        "product_id": 4,
        "quantity": 5,
    }


def test_total_travels_from_the_reservation_to_the_payment_exactly(store, first):
    replies = [reply("create_order"), reply("reserve_product", total="99999999999.99")]
    _, payment = store.advance(place_order, replies, NOW)
    assert payment.topic == "user.pay"
    fields = {"order_id": str(ORDER), "user_id": 3, "total": "99999999999.99"}
    assert json.loads(payment.data) == fields


def test_replies_drive_the_saga_to_its_end(store, first):
    steps = ["create_order", "reserve_product", "process_payment", "complete_order"]
    replies = [reply(step, total="1.00") for step in steps]
    commands = store.advance(place_order, replies, NOW)
    topics = ["product.reserve", "user.pay", "order.complete"]
    assert [command.topic for command in commands] == topics
    assert saga_queries.find(store.database, SAGA).status == "COMPLETED"


def test_sweep_sends_the_lost_command_again(store, first):
    assert store.sweep(place_order, NOW) == []
    (again,) = store.sweep(place_order, NOW + timedelta(seconds=15))
    assert (again.id, again.data, again.attempt) == (first.id, first.data, 1)
