"""The ledger finds what does not fit."""

from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest

from saga.functions.orchestrator.place_order import PlaceOrder, place_order
from saga.functions.order.store import Order
from saga.functions.product.store import Product, Reservation
from saga.functions.user.store import Payment, User
from saga.runtime import saga_store
from saga.runtime.database.schema import bind
from saga.stacks import ledger

ORDER, SAGA = UUID(int=1), str(UUID(int=2))


@pytest.fixture
def before(sqlite):
    """A saga that was cancelled at once, without any effect."""
    bind(sqlite, [table for tables in ledger.TABLES.values() for table in tables])
    Product.create(id=1, name="Tea", price=Decimal(1), stock=10)
    User.create(id=1, name="Ann", email="a@example.com", balance=Decimal(10))
    message = PlaceOrder(order_id=ORDER, user_id=1, product_id=1, quantity=3)
    now = datetime.now(UTC)
    saga_store.SagaStore(saga_store.SagaRow._meta.database).start(
        place_order, [saga_store.Start(SAGA, message)], now
    )
    saga_store.SagaRow.update(
        status="COMPENSATED",
        state=saga_store.SagaRow.get().state.replace('"RUNNING"', '"COMPENSATED"', 1),
    ).execute()
    return ledger.totals()


def test_nothing_held_by_a_compensated_saga_is_healthy(before):
    assert ledger.violations([SAGA], before) == []


def test_units_held_without_an_order_are_found(before):
    Product.update(stock=7).execute()
    Reservation.create(order_id=ORDER, product_id=1, quantity=3)
    [found] = ledger.violations([SAGA], before)
    assert "without an order, and 3 units" in found


def test_payment_of_a_cancelled_order_is_found(before):
    Order.create(id=ORDER, saga_id=SAGA, user_id=1, product_id=1, quantity=3, status="CANCELLED")
    User.update(balance=Decimal(7)).execute()
    Payment.create(order_id=ORDER, user_id=1, amount=Decimal(3))
    [found] = ledger.violations([SAGA], before)
    assert "holds 0 units and 3.00" in found


def test_order_that_does_not_fit_its_saga_is_found(before):
    Order.create(id=ORDER, saga_id=SAGA, user_id=1, product_id=1, quantity=3, status="COMPLETED")
    [found] = ledger.violations([SAGA], before)
    assert "its order is COMPLETED" in found


def test_lost_money_or_stock_is_found(before):
    Product.update(stock=9).execute()
    [found] = ledger.violations([SAGA], before)
    assert "sums:" in found


def test_saga_without_a_row_is_found(before):
    assert ledger.violations(["nobody"], before) == ["saga nobody: accepted, but there is no row"]
