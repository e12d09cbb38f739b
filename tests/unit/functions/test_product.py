"""Reserving and releasing stock, as plain calls."""

from decimal import Decimal
from uuid import UUID

import peewee
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saga.functions.product.messages import ReleaseProduct, ReserveProduct
from saga.functions.product.release_product import release_product
from saga.functions.product.reserve_product import reserve_product
from saga.functions.product.store import ClosedProduct, Product, Reservation
from saga.runtime import Rejected
from saga.runtime.database.connection import connect
from saga.runtime.database.schema import bind

TABLES = [Product, ClosedProduct, Reservation]


@pytest.fixture(autouse=True)
def _tables(sqlite):
    bind(sqlite, TABLES)
    Product.create(id=7, name="Tea", price=Decimal("0.10"), stock=10)
    Product.create(id=8, name="Pot", price=Decimal("19.99"), stock=10)


def reserve(quantity=3, order=1, product=7):
    command = ReserveProduct(order_id=UUID(int=order), product_id=product, quantity=quantity)
    return reserve_product(command)


def release(order=1):
    return release_product(ReleaseProduct(order_id=UUID(int=order)))


def stock(product=7):
    return Product.get_by_id(product).stock


def test_reserved_units_leave_free_stock():
    event = reserve(3)
    assert (event.order_id, event.total) == (UUID(int=1), Decimal("0.30"))
    assert (stock(7), stock(8)) == (7, 10)
    held = Reservation.get_by_id(UUID(int=1))
    assert (held.product_id, held.quantity, held.released) == (7, 3, False)


def test_last_unit_can_be_reserved():
    reserve(10)
    assert stock() == 0


@pytest.mark.parametrize(
    ("price", "quantity", "total"),
    [("0.10", 3, "0.30"), ("19.99", 3, "59.97"), ("0.01", 1_000_000, "10000.00")],
)
def test_total_is_exact(price, quantity, total):
    Product.update(price=Decimal(price), stock=1_000_000).execute()
    assert str(reserve(quantity).total) == total


def test_too_little_stock_is_rejected():
    with pytest.raises(Rejected, match="product 7 has fewer than 11 left") as no:
        reserve(11)
    assert no.value.code == "insufficient_stock"
    assert stock() == 10
    assert Reservation.select().count() == 0


def test_unknown_product_is_rejected():
    with pytest.raises(Rejected, match="there is no product 9") as no:
        reserve(1, product=9)
    assert no.value.code == "product_not_found"


def test_released_units_are_free_again():
    reserve(3)
    assert release().order_id == UUID(int=1)
    assert stock() == 10
    assert Reservation.get_by_id(UUID(int=1)).released


def test_release_told_twice_gives_back_once():
    reserve(3)
    release()
    release()
    assert stock() == 10


def test_release_of_nothing_gives_nothing_back():
    reserve(3, order=1)
    release(order=2)
    assert (stock(), Reservation.get_by_id(UUID(int=1)).released) == (7, False)


def test_order_reserves_once():
    reserve(3)
    with pytest.raises(peewee.IntegrityError):
        reserve(3)


ORDERS = st.integers(1, 5)
CALLS = st.lists(st.tuples(ORDERS, st.integers(1, 6) | st.none(), st.sampled_from([7, 8])))


@given(CALLS)
def test_no_unit_is_made_or_lost(calls):
    """Any calls, `None` for a release: free and held units add up, and stock is never below 0."""
    database = connect("sqlite://")
    bind(database, TABLES)
    for number in (7, 8):
        Product.create(id=number, name="Tea", price=1, stock=10)
    taken = set()
    for order, quantity, product in calls:
        if quantity is None:
            release(order)
        elif order not in taken:
            free = stock(product)
            try:
                reserve(quantity, order, product)
                taken.add(order)
            except Rejected:
                assert free < quantity
        for number in (7, 8):
            rows = Reservation.select().where(
                Reservation.product_id == number, ~Reservation.released
            )
            held = sum(row.quantity for row in rows)
            assert stock(number) >= 0
            assert stock(number) + held == 10
    database.close()
