"""The cases that any saga system has to get right, each by its name, on both databases."""

import json
import logging

import pytest

from saga.functions.orchestrator.place_order import place_order
from saga.functions.order.store import Order
from saga.functions.product.store import Product
from saga.functions.user.store import User
from saga.runtime import Rejected
from saga.runtime.envelope import Record, decode
from saga.runtime.function import load

pytestmark = pytest.mark.parametrize("shop", ["sqlite", "postgres"], indirect=True)

FORWARD = ["create_order", "reserve_product", "process_payment", "complete_order"]
SERVICES = {"order": "order", "product": "product", "payment": "user"}
UNDOS = ["refund_payment", "release_product", "cancel_order"]


def spied(shop, **options):
    """Open a shop whose handlers keep a record of their runs that were committed in the end."""
    runs = []

    def spy(name, handler):
        def run(command):
            event = handler(command)
            runs.append(name)
            return event

        return run

    handlers = {}
    for name in [*FORWARD, *UNDOS]:
        handlers[name] = spy(name, options.pop(name, real(name)))
    return shop(**handlers, **options), runs


def failing(times, error=RuntimeError, then=None):
    """Make a handler that fails so many times, then does what `then` does."""
    left = [times]

    def handler(command):
        if left[0]:
            left[0] -= 1
            raise error("out of order")
        return then(command)

    return handler


def real(name):
    service = SERVICES[name.rpartition("_")[2]]
    return load(f"saga.functions.{service}.{name}").handler


def steps(shop):
    return {step.name: step.status for step in shop.saga().steps}


def test_happy_path_has_each_effect_once_in_order_and_no_undo(shop):
    shop, runs = spied(shop)
    shop.order()
    shop.run()
    assert runs == FORWARD
    assert shop.saga().status == "COMPLETED"
    assert shop.ended == [shop.saga().id]


@pytest.mark.parametrize("failed", range(4))
def test_failure_at_each_step_undoes_those_before_it_in_reverse(shop, failed):
    def refuse(command):
        raise Rejected("no", "not today")

    shop, runs = spied(shop, **{FORWARD[failed]: refuse})
    shop.order()
    shop.run()
    assert runs == FORWARD[:failed] + UNDOS[3 - failed :]
    assert shop.saga().status == "COMPENSATED"
    assert shop.ended == [shop.saga().id]
    assert (Product.get().stock, str(User.get().balance)) == (10, "100.00")


@pytest.mark.parametrize("undo", UNDOS)
def test_undo_that_fails_once_is_retried_and_works_once(shop, undo):
    flaky = failing(1, then=real(undo))
    never = failing(10**6)
    shop, runs = spied(shop, complete_order=never, **{undo: flaky})
    shop.order()
    shop.run()
    assert runs == [*FORWARD[:3], *UNDOS]
    attempts = {step.name: step.undo_attempts for step in shop.saga().steps}
    assert sorted(attempts.values()) == [0, 1, 1, 2]
    assert shop.saga().status == "COMPENSATED"
    assert (Product.get().stock, str(User.get().balance)) == (10, "100.00")


def test_undo_that_fails_for_good_is_no_success_until_it_is_retried(shop):
    flaky = failing(10, then=real("release_product"))
    shop, runs = spied(shop, balance="1.00", release_product=flaky)
    shop.order()
    shop.run()
    saga = shop.saga()
    assert saga.status == "FAILED"
    assert steps(shop)["reserve_product"] == "UNDO_FAILED"
    assert steps(shop)["create_order"] == "UNDONE"
    assert saga.steps[1].error.message == "RuntimeError: out of order"
    assert (saga.failure.step, saga.failure.code) == ("process_payment", "insufficient_funds")

    _, commands = shop.store.retry(place_order, saga.id, shop.now)
    shop._send([command.record() for command in commands])
    shop.run()
    assert shop.saga().status == "COMPENSATED"
    assert runs == ["create_order", "reserve_product", "cancel_order", "release_product"]
    assert Product.get().stock == 10


def test_death_during_an_undo_resumes_the_same_undo(shop):
    """The worker dies after its commit: the command comes again, and the inbox answers."""
    shop, runs = spied(shop, balance="1.00")
    shop.order()
    while not any(record.topic == "product.release" for record in shop.queue):
        queue, shop.queue = shop.queue, []
        for record in queue:
            shop.deliver_alone(record)
    [release] = [record for record in shop.queue if record.topic == "product.release"]
    lost = shop.workers["product.release_product"].process([release])
    again = shop.workers["product.release_product"].process([release])
    assert [(r.value, list(r.headers)) for r in again] == [(r.value, list(r.headers)) for r in lost]
    shop.run()
    assert runs == ["create_order", "reserve_product", "release_product", "cancel_order"]
    assert Product.get().stock == 10


def test_typed_error_survives_from_the_handler_to_the_row_and_the_log(shop, caplog):
    caplog.set_level(logging.INFO)
    shop, _ = spied(shop, stock=3)
    shop.order(quantity=5)
    shop.run()
    text = "product 7 has fewer than 5 left"
    assert (shop.saga().failure.code, shop.saga().failure.message) == ("insufficient_stock", text)
    [rejection] = [r for r in shop.sent if decode(r).outcome == "rejected"]
    assert json.loads(rejection.value or b"") == {"code": "insufficient_stock", "message": text}
    assert f"insufficient_stock: {text}" in caplog.text


def test_query_during_compensation_tells_the_steps_apart(shop):
    flaky = failing(10**6)
    shop, _ = spied(shop, complete_order=failing(10**6), release_product=flaky)
    shop.order()
    seen = set()
    for _ in range(200):
        shop.deliver_queue()
        seen.add(tuple(steps(shop).values()))
        due = shop.saga().due_at
        if due is None:
            break
        shop.now = max(shop.now, due)
        shop.sweep()
        seen.add(tuple(steps(shop).values()))
    assert ("DONE", "DONE", "DONE", "RUNNING") in seen
    assert ("DONE", "UNDOING", "UNDONE", "FAILED") in seen
    assert ("UNDONE", "UNDO_FAILED", "UNDONE", "FAILED") in seen
    assert shop.saga().status == "FAILED"


def test_undo_before_do_leaves_nothing_done(shop):
    shop, runs = spied(shop)
    shop.order()
    [create] = shop.queue
    shop.queue = []
    headers = [
        (n, v.replace(b"CreateOrder", b"CancelOrder").replace(b"/do", b"/undo"))
        for n, v in create.headers
    ]
    shop.deliver("order.cancel_order", [create._replace(topic="order.cancel", headers=headers)])
    shop.deliver("order.create_order", [create])
    outcomes = [decode(record).outcome for record in shop.sent[-2:]]
    assert (outcomes, runs) == (["done", "rejected"], [])
    assert Order.select().count() == 0


def test_poison_record_is_set_aside_and_the_rest_goes_on(shop):
    shop, runs = spied(shop)
    shop.order()
    [create] = shop.queue
    poison = Record("order.create", b"k", b"\xff", [])
    replies = shop.workers["order.create_order"].process([poison, create])
    assert sorted(record.topic for record in replies) == ["order.create.dlq", "order.events"]
    assert runs == ["create_order"]
