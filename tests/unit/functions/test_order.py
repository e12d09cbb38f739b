"""Creating, completing and cancelling orders, as plain calls."""

from decimal import Decimal
from uuid import UUID

import peewee
import pytest

from saga.functions.order.cancel_order import cancel_order
from saga.functions.order.complete_order import complete_order
from saga.functions.order.create_order import create_order
from saga.functions.order.messages import CancelOrder, CompleteOrder, CreateOrder
from saga.functions.order.store import CANCELLED, COMPLETED, PENDING, Order
from saga.runtime import Rejected
from saga.runtime.database.schema import bind
from saga.runtime.testing import NEW_YEAR

ID, SAGA = UUID(int=1), UUID(int=2)


@pytest.fixture(autouse=True)
def _tables(sqlite):
    bind(sqlite, [Order])


def create(order_id=ID):
    command = CreateOrder(order_id=order_id, saga_id=SAGA, user_id=3, product_id=4, quantity=5)
    return create_order(command)


def complete(total="59.97"):
    return complete_order(CompleteOrder(order_id=ID, total=Decimal(total)))


def cancel():
    return cancel_order(CancelOrder(order_id=ID))


def order():
    return Order.get_by_id(ID)


def test_new_order_is_pending():
    assert create().order_id == ID
    made = order()
    assert (made.saga_id, made.user_id, made.product_id, made.quantity) == (SAGA, 3, 4, 5)
    assert (made.status, made.total) == (PENDING, None)
    assert made.created_at == made.updated_at


@pytest.mark.parametrize("change", [complete, cancel])
def test_order_tells_when_it_changed_last(frozen_clock, change):
    create()
    frozen_clock.advance(minutes=1)
    change()
    assert order().created_at == NEW_YEAR
    assert order().updated_at == frozen_clock.now


def test_order_is_created_once():
    create()
    with pytest.raises(peewee.IntegrityError):
        create()


def test_completed_order_has_its_total():
    create()
    assert complete("59.97").order_id == ID
    assert (order().status, order().total) == (COMPLETED, Decimal("59.97"))


def test_other_orders_are_left_alone():
    create()
    create(UUID(int=9))
    complete()
    assert Order.get_by_id(UUID(int=9)).status == PENDING
    cancel()
    assert Order.get_by_id(UUID(int=9)).status == PENDING


@pytest.mark.parametrize("make", [[], [create, cancel], [create, complete]])
def test_order_that_is_not_pending_is_not_completed(make):
    for step in make:
        step()
    with pytest.raises(Rejected, match=f"order {ID} is not pending") as no:
        complete("1.00")
    assert no.value.code == "order_not_pending"
    assert [row.total for row in Order.select()] != [Decimal("1.00")]


@pytest.mark.parametrize("make", [[create], [create, complete], [create, cancel]])
def test_order_is_cancelled_whatever_it_was(make):
    for step in make:
        step()
    assert cancel().order_id == ID
    assert order().status == CANCELLED


def test_cancelling_an_order_that_is_gone_is_done():
    assert cancel().order_id == ID
    assert Order.select().count() == 0
