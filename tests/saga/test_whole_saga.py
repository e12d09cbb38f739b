"""The real functions on four databases, their messages carried by hand."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from saga.functions.orchestrator.place_order import place_order
from saga.functions.order.store import Order
from saga.functions.product.store import Product, Reservation
from saga.functions.user.store import Payment, User
from saga.runtime import Rejected
from saga.runtime.function import Function
from saga.runtime.settings import Settings
from saga.runtime.system.stack import read_stacks

NOW = datetime(2026, 1, 1, tzinfo=UTC)

on_both_databases = pytest.mark.parametrize("shop", ["sqlite", "postgres"], indirect=True)


def assert_undone(shop, stock=10, balance="100.00"):
    assert shop.saga().status == "COMPENSATED"
    assert Product.get().stock == stock
    assert User.get().balance == Decimal(balance)
    assert Order.get().status == "CANCELLED"


def failure(shop):
    return shop.saga().failure.step, shop.saga().failure.code


def steps(shop):
    return [step.status for step in shop.saga().steps]


@on_both_databases
def test_order_is_completed(shop):
    shop = shop()
    shop.order(2)
    shop.run()
    assert shop.saga().status == "COMPLETED"
    assert steps(shop) == ["DONE"] * 4
    assert (Order.get().status, Order.get().total) == ("COMPLETED", Decimal("39.98"))
    assert (Product.get().stock, User.get().balance) == (8, Decimal("60.02"))
    assert len(shop.sent) == 8


@on_both_databases
def test_too_little_stock_cancels_the_order(shop):
    shop = shop(stock=1)
    shop.order(2)
    shop.run()
    assert_undone(shop, stock=1)
    assert failure(shop) == ("reserve_product", "insufficient_stock")
    assert steps(shop) == ["UNDONE", "REJECTED", "PENDING", "PENDING"]


@on_both_databases
def test_too_small_a_balance_releases_and_cancels(shop):
    shop = shop(balance="39.97")
    shop.order(2)
    shop.run()
    assert_undone(shop, balance="39.97")
    assert failure(shop) == ("process_payment", "insufficient_funds")
    assert steps(shop) == ["UNDONE", "UNDONE", "REJECTED", "PENDING"]
    assert Reservation.get().released


@on_both_databases
@pytest.mark.parametrize(
    ("unknown", "step"), [("user", "process_payment"), ("product", "reserve_product")]
)
def test_unknown_user_or_product_cancels(shop, unknown, step):
    shop = shop()
    shop.order(**{unknown: 99})
    shop.run()
    assert_undone(shop)
    assert failure(shop) == (step, f"{unknown}_not_found")


def fail(command):
    raise ZeroDivisionError("out of order")


def refuse(command):
    raise Rejected("not_today", "come back tomorrow")


@on_both_databases
@pytest.mark.parametrize(("handler", "code"), [(fail, "attempts_exhausted"), (refuse, "not_today")])
def test_completion_that_fails_refunds_releases_and_cancels(shop, handler, code):
    shop = shop(complete_order=handler)
    shop.order()
    shop.run()
    assert_undone(shop)
    assert failure(shop) == ("complete_order", code)
    assert Payment.get().refunded
    assert Reservation.get().released
    assert steps(shop)[:3] == ["UNDONE"] * 3


def test_fault_that_passes_completes_the_order(shop):
    calls = []

    def fail_twice(command):
        calls.append(command)
        return fail(command) if len(calls) < 3 else complete(command)

    shop = shop(complete_order=fail_twice)
    complete = saga_function("complete_order")
    shop.order()
    shop.run()
    assert shop.saga().status == "COMPLETED"
    assert shop.saga().steps[3].attempts == 3
    assert Order.get().status == "COMPLETED"


def saga_function(name):
    loaded = [f for stack in read_stacks(Settings().saga_stacks) for f, _ in stack.load()]
    functions = [f for f in loaded if isinstance(f, Function)]
    return next(f.handler for f in functions if f.name.endswith(f".{name}"))


@pytest.mark.parametrize("rounds", range(8))
def test_cancelled_order_is_undone_wherever_it_is(shop, rounds):
    """After so many messages; those that are on their way arrive after the undos."""
    shop = shop()
    shop.order()
    shop.deliver_first(rounds)
    late, shop.queue = shop.queue, []
    _, commands = shop.store.cancel(place_order, shop.saga().id, shop.now)
    shop._send([command.record() for command in commands])
    shop.run()
    shop.queue = late
    shop.run()
    assert failure(shop)[1] == "cancelled"
    assert shop.saga().status == "COMPENSATED"
    assert (Product.get().stock, User.get().balance) == (10, Decimal("100.00"))
    assert [order.status for order in Order.select()] == ["CANCELLED"] * bool(rounds)


@pytest.mark.parametrize("lost", range(8))
def test_lost_message_is_made_good_by_the_sweeper(shop, lost):
    shop = shop()
    shop.order(2)
    shop.deliver_first(lost)
    shop.queue.clear()
    shop.run()
    assert shop.saga().status == "COMPLETED"
    assert shop.now >= NOW + timedelta(seconds=15)
    assert (Product.get().stock, User.get().balance) == (8, Decimal("60.02"))


@on_both_databases
def test_orders_that_compete_for_stock_get_what_there_is(shop):
    shop = shop(stock=25, balance="10000.00")
    for number in range(40):
        shop.order(2, number)
    shop.run()
    statuses = [shop.saga(number).status for number in range(40)]
    assert (statuses.count("COMPLETED"), statuses.count("COMPENSATED")) == (12, 28)
    assert Product.get().stock == 1
    assert User.get().balance == Decimal("10000.00") - 24 * Decimal("19.99")


@pytest.mark.parametrize("ending", ["completed", "compensated", "refunded"])
def test_messages_redelivered_in_any_order_change_nothing(shop, ending):
    handlers = {"complete_order": refuse} if ending == "refunded" else {}
    shop = shop(balance="1.00" if ending == "compensated" else "100.00", **handlers)
    shop.order()
    shop.run()
    messages, before, replies = list(shop.sent), shop.dump(), set()
    for record in messages:
        replies.add(record.value)

    @settings(max_examples=25)
    @given(st.permutations(messages), st.integers(1, 4))
    def redeliver(order, batch):
        for begin in range(0, len(order), batch):
            for record in order[begin : begin + batch]:
                shop.deliver_alone(record)
        assert {record.value for record in shop.queue} <= replies
        shop.queue.clear()
        assert shop.dump() == before

    redeliver()


@pytest.mark.parametrize("balance", ["100.00", "1.00"])
def test_messages_repeated_on_the_way_end_in_the_same_effects(shop, balance):
    calm = shop(balance=balance)
    calm.order()
    calm.run()
    expected = calm.effects()

    @settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(st.integers(0, 10**6), max_size=40))
    def repeat(picks):
        restless = shop(balance=balance)
        restless.order()
        for pick in picks:
            record = restless.sent[pick % len(restless.sent)]  # anything ever sent, in any order
            restless.deliver_alone(record)
        restless.run()
        assert restless.effects() == expected
        restless.close()

    repeat()
