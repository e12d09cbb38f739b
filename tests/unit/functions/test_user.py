"""Taking and refunding payments, as plain calls."""

from decimal import Decimal
from uuid import UUID

import peewee
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saga.functions.user.messages import ProcessPayment, RefundPayment
from saga.functions.user.process_payment import process_payment
from saga.functions.user.refund_payment import refund_payment
from saga.functions.user.store import ClosedUser, Payment, User
from saga.runtime import Rejected
from saga.runtime.database.connection import connect
from saga.runtime.database.schema import bind

TABLES = [User, ClosedUser, Payment]


def open_account(number, balance):
    User.create(id=number, name="Ann", email=f"{number}@example.com", balance=Decimal(balance))


@pytest.fixture(autouse=True)
def _tables(sqlite):
    bind(sqlite, TABLES)
    open_account(1, "100.00")
    open_account(2, "100.00")


def pay(total="19.99", order=1, user=1):
    command = ProcessPayment(order_id=UUID(int=order), user_id=user, total=Decimal(total))
    return process_payment(command)


def refund(order=1):
    return refund_payment(RefundPayment(order_id=UUID(int=order)))


def balance(user=1):
    return User.get_by_id(user).balance


def test_payment_leaves_the_balance():
    assert pay("19.99").order_id == UUID(int=1)
    assert (balance(1), balance(2)) == (Decimal("80.01"), Decimal("100.00"))
    payment = Payment.get_by_id(UUID(int=1))
    assert (payment.user_id, payment.amount, payment.refunded) == (1, Decimal("19.99"), False)


def test_last_cent_can_be_paid():
    pay("100.00")
    assert balance() == 0


def test_too_small_a_balance_is_rejected():
    with pytest.raises(Rejected, match=r"user 1 has less than 100\.01") as no:
        pay("100.01")
    assert no.value.code == "insufficient_funds"
    assert balance() == Decimal("100.00")
    assert Payment.select().count() == 0


def test_unknown_user_is_rejected():
    with pytest.raises(Rejected, match="there is no user 3") as no:
        pay(user=3)
    assert no.value.code == "user_not_found"


def test_fraction_of_a_cent_is_not_paid():
    with pytest.raises(ValueError, match="decimal_max_places"):
        pay("0.001")
    assert balance() == Decimal("100.00")


def test_hundred_small_payments_are_exact():
    for order in range(100):
        pay("0.10", order)
    assert balance() == Decimal("90.00")


def test_refund_gives_the_money_back():
    pay()
    assert refund().order_id == UUID(int=1)
    assert balance() == Decimal("100.00")
    assert Payment.get_by_id(UUID(int=1)).refunded


def test_refund_told_twice_gives_back_once():
    pay()
    refund()
    refund()
    assert balance() == Decimal("100.00")


def test_refund_of_nothing_gives_nothing_back():
    pay(order=1)
    refund(order=2)
    assert balance() == Decimal("80.01")


def test_refund_to_nobody_is_rejected():
    pay()
    User.delete_by_id(1)
    with pytest.raises(Rejected, match="no user 1 to refund") as no:
        refund()
    assert no.value.code == "user_not_found"


def test_order_is_paid_once():
    pay()
    with pytest.raises(peewee.IntegrityError):
        pay()


AMOUNTS = st.decimals("0.01", "60.00", places=2)
CALLS = st.lists(st.tuples(st.integers(1, 5), AMOUNTS | st.none(), st.sampled_from([1, 2])))


@given(CALLS)
def test_no_cent_is_made_or_lost(calls):
    """Any calls, `None` for a refund: balances and payments add up, and none is below zero."""
    database = connect("sqlite://")
    bind(database, TABLES)
    open_account(1, "100.00")
    open_account(2, "100.00")
    paid = set()
    for order, amount, user in calls:
        if amount is None:
            refund(order)
        elif order not in paid:
            before = balance(user)
            try:
                pay(amount, order, user)
                paid.add(order)
            except Rejected:
                assert before < amount
        for number in (1, 2):
            rows = Payment.select().where(Payment.user_id == number, ~Payment.refunded)
            assert balance(number) >= 0
            assert balance(number) + sum(row.amount for row in rows) == 100
    database.close()
