"""The promises that every function keeps: duplicates, crashes, faults, undos before their dos."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from saga.functions.order.cancel_order import cancel_order
from saga.functions.order.complete_order import complete_order
from saga.functions.order.create_order import create_order
from saga.functions.order.messages import CancelOrder, CompleteOrder, CreateOrder
from saga.functions.order.store import Order
from saga.functions.product.messages import ReleaseProduct, ReserveProduct
from saga.functions.product.release_product import release_product
from saga.functions.product.reserve_product import reserve_product
from saga.functions.product.store import Product, Reservation
from saga.functions.user.messages import ProcessPayment, RefundPayment
from saga.functions.user.process_payment import process_payment
from saga.functions.user.refund_payment import refund_payment
from saga.functions.user.store import Payment, User
from saga.runtime.testing import CRASH_POINTS, SimulatedCrash, invoke

ORDER, SAGA = UUID(int=1), UUID(int=2)
CREATE = CreateOrder(order_id=ORDER, saga_id=SAGA, user_id=1, product_id=1, quantity=2)
DOS = {
    create_order: CREATE,
    reserve_product: ReserveProduct(order_id=ORDER, product_id=1, quantity=2),
    process_payment: ProcessPayment(order_id=ORDER, user_id=1, total=Decimal("5.00")),
}
UNDOS: dict[Any, tuple[Any, Any]] = {
    create_order: (cancel_order, CancelOrder(order_id=ORDER)),
    reserve_product: (release_product, ReleaseProduct(order_id=ORDER)),
    process_payment: (refund_payment, RefundPayment(order_id=ORDER)),
}
EVERY = [*DOS, complete_order]


@dataclass(frozen=True)
class Shop:
    """All that a function may change: order, free and held units, balance and payment."""

    order: tuple[str, Decimal | None] | None = None
    stock: int = 10
    held: int = 0
    balance: Decimal = Decimal("100.00")
    paid: Decimal = Decimal("0.00")


UNTOUCHED = Shop()
EFFECTS = {
    create_order: Shop(order=("PENDING", None)),
    reserve_product: Shop(stock=8, held=2),
    process_payment: Shop(balance=Decimal("95.00"), paid=Decimal("5.00")),
    complete_order: Shop(order=("COMPLETED", Decimal("5.00"))),
}
UNDONE = {create_order: Shop(order=("CANCELLED", None))}


def shop():
    """Read the shop as it is."""
    order = Order.get_or_none()
    held = [row.quantity for row in Reservation.select().where(~Reservation.released)]
    paid = [row.amount for row in Payment.select().where(~Payment.refunded)]
    return Shop(
        order=order and (order.status, order.total),
        stock=Product.get().stock,
        held=sum(held),
        balance=User.get().balance,
        paid=sum(paid, Decimal("0.00")),
    )


@pytest.fixture(autouse=True)
def _shop(saga_database):
    """A user and a product, and tables for everything else."""
    saga_database(*EVERY, *(undo for undo, _ in UNDOS.values()))
    Product.create(id=1, name="Tea", price=Decimal("2.50"), stock=10)
    User.create(id=1, name="Ann", email="ann@example.com", balance=Decimal("100.00"))


def command_for(function):
    if function is complete_order:
        invoke(create_order, CREATE)
        return CompleteOrder(order_id=ORDER, total=Decimal("5.00"))
    return DOS[function]


def effects(result):
    return {table.__name__ for table, changes in result.stored.items() if changes}


@pytest.mark.parametrize("function", EVERY)
def test_duplicate_changes_nothing_and_is_answered_the_same(function):
    command = command_for(function)
    first = invoke(function, command, message_id="saga-1")
    again = invoke(function, command, message_id="saga-1")
    assert (first.ran, again.ran, again.duplicate) == (True, False, True)
    assert effects(first)
    assert shop() == EFFECTS[function]
    assert not effects(again)
    assert again.record == first.record


@pytest.mark.parametrize("point", CRASH_POINTS)
@pytest.mark.parametrize("function", EVERY)
def test_crash_anywhere_leaves_the_effect_once(function, point):
    command = command_for(function)
    with pytest.raises(SimulatedCrash):
        invoke(function, command, message_id="saga-1", crash_at=point)
    assert invoke(function, command, message_id="saga-1").outcome == "done"
    assert not effects(invoke(function, command, message_id="saga-1"))
    assert shop() == EFFECTS[function]


@pytest.mark.parametrize("function", EVERY)
def test_fault_leaves_nothing_and_the_next_attempt_works(function):
    command = command_for(function)
    before = shop()
    failed = invoke(function, command, message_id="saga-1", fail_times=1)
    assert (failed.outcome, effects(failed)) == ("failed", set())
    assert shop() == before
    assert invoke(function, command, message_id="saga-1").outcome == "done"
    assert shop() == EFFECTS[function]


@pytest.mark.parametrize("function", DOS)
def test_undo_gives_back_what_its_do_took(function):
    do = invoke(function, DOS[function], message_id="saga-1")
    undo, command = UNDOS[function]
    assert invoke(undo, command, undo_of=do).ran
    assert not effects(invoke(undo, command, undo_of=do))
    assert shop() == UNDONE.get(function, UNTOUCHED)


@pytest.mark.parametrize("function", DOS)
def test_undo_before_its_do_refuses_the_do(function):
    undo, command = UNDOS[function]
    step = function.__name__
    early = invoke(undo, command, undo_of=f"saga-1/{step}/do")
    assert (early.outcome, early.ran) == ("done", False)
    late = invoke(function, DOS[function], message_id="saga-1")
    assert (late.outcome, late.ran, late.fenced) == ("rejected", False, True)
    assert not effects(late)
    assert shop() == UNTOUCHED
