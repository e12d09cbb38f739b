"""What becomes of users and products that are deleted while orders hold something of them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any
from uuid import UUID

import peewee
import pytest

from saga.functions.product.messages import ReleaseProduct, ReserveProduct
from saga.functions.product.release_product import release_product
from saga.functions.product.reserve_product import reserve_product
from saga.functions.product.store import ClosedProduct, Product, Reservation, close_product
from saga.functions.user.messages import ProcessPayment, RefundPayment
from saga.functions.user.process_payment import process_payment
from saga.functions.user.refund_payment import refund_payment
from saga.functions.user.store import ClosedUser, Payment, User, close_user
from saga.runtime import Rejected
from saga.runtime.database.connection import transaction
from saga.runtime.database.schema import bind
from saga.runtime.web.rows import delete_row

ORDER = UUID(int=1)
ANN = {"name": "Ann", "email": "ann@example.com", "balance": Decimal("100.00")}
TEA = {"name": "Tea", "price": Decimal("0.10"), "stock": 10}
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"


@pytest.fixture(autouse=True)
def _tables_of_the_version_before(database: peewee.Database) -> None:
    bind(database, [User, Payment, Product, Reservation])
    User.create(**ANN)
    Product.create(**TEA)
    bind(database, [ClosedUser, ClosedProduct])


def pay() -> None:
    process_payment(ProcessPayment(order_id=ORDER, user_id=1, total=Decimal("19.99")))


def refund() -> None:
    refund_payment(RefundPayment(order_id=ORDER))


def reserve() -> None:
    reserve_product(ReserveProduct(order_id=ORDER, product_id=1, quantity=3))


def release() -> None:
    release_product(ReleaseProduct(order_id=ORDER))


def test_refund_to_a_closed_user_is_credited_once() -> None:
    pay()
    delete_row(User, 1, close_user)
    assert ClosedUser.get_by_id(1).balance == Decimal("80.01")
    refund()
    refund()
    assert ClosedUser.get_by_id(1).__data__.items() >= {"id": 1, **ANN}.items()


def test_release_of_a_closed_product_is_counted_once() -> None:
    reserve()
    delete_row(Product, 1, close_product)
    assert ClosedProduct.get_by_id(1).stock == 7
    release()
    release()
    assert ClosedProduct.get_by_id(1).__data__.items() >= {"id": 1, **TEA}.items()


def test_closed_ones_take_no_part_in_new_orders() -> None:
    delete_row(User, 1, close_user)
    delete_row(Product, 1, close_product)
    with pytest.raises(Rejected, match="there is no user 1") as unpaid:
        pay()
    with pytest.raises(Rejected, match="there is no product 1") as unreserved:
        reserve()
    codes = (unpaid.value.code, unreserved.value.code)
    assert codes == ("user_not_found", "product_not_found")


def test_email_of_a_closed_user_is_free_for_any_number_of_others() -> None:
    for _ in range(3):
        delete_row(User, User.get().id, close_user)
        User.create(**ANN)
        with pytest.raises(peewee.IntegrityError), transaction(User._meta.database):
            User.create(**ANN)
    assert ClosedUser.select().count() == 3


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_refund_that_waits_for_the_closing_finds_the_closed_user(
    database: peewee.Database, until: Callable[..., Any]
) -> None:
    pay()

    def refund_apart() -> None:
        with database.connection_context(), transaction(database):
            refund()

    with ThreadPoolExecutor(1) as pool:
        refunds = []

        def close(user: User) -> None:
            close_user(user)
            refunds.append(pool.submit(refund_apart))
            until(lambda: database.execute_sql(WAITING).fetchone()[0], "the refund waits")

        delete_row(User, 1, close)
        refunds[0].result()
    assert ClosedUser.get_by_id(1).balance == Decimal("100.00")
