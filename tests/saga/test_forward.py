"""The way forward: a saga whose steps all do what they are asked."""

from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from saga.functions.orchestrator.place_order import PlaceOrder, place_order
from saga.functions.order.messages import CreateOrder, OrderCompleted, OrderCreated
from saga.functions.product.messages import ProductReserved, ReserveProduct
from saga.functions.user.messages import ProcessPayment
from saga.runtime.envelope import Envelope
from saga.runtime.testing import NEW_YEAR
from saga.runtime.transition import start

ALL = ["create_order", "reserve_product", "process_payment", "complete_order"]
ORDER = UUID(int=1)


def statuses(story):
    return [step.status for step in story.state.steps]


def sent(story):
    return [command.id.removeprefix(f"{story.state.id}/") for command in story.sent]


def test_start_sends_the_first_command(story):
    story.expect(CreateOrder).expect_nothing()
    assert sent(story) == ["create_order/do"]
    assert story.state.status == "RUNNING"
    assert statuses(story) == ["RUNNING", "PENDING", "PENDING", "PENDING"]


@pytest.mark.parametrize(("reached", "answered"), [("created", 1), ("reserved", 2), ("paid", 3)])
def test_each_answer_sends_the_next_command(request, reached, answered):
    story = request.getfixturevalue(reached)
    assert sent(story) == [f"{name}/do" for name in ALL[: answered + 1]]
    assert statuses(story) == [*["DONE"] * answered, "RUNNING", *["PENDING"] * (3 - answered)]


def test_last_answer_completes_the_saga(completed):
    completed.expect_nothing().expect_completed()
    assert completed.state.ended
    assert completed.state.due_at is None
    assert not completed.state.awaiting
    assert completed.state.answered is None
    assert completed.state.failure is None
    assert sent(completed) == [f"{name}/do" for name in ALL]


def test_saga_has_changed_last_when_it_ended(paid):
    paid.wait(1).reply(OrderCompleted(order_id=ORDER))
    assert paid.state.updated_at == paid.now > paid.state.created_at


def test_command_is_an_envelope_from_the_saga(story):
    saga_id = "00000000-0000-0000-0000-000000000001"
    assert story.sent == [
        Envelope(
            topic="order.create",
            id=f"{saga_id}/create_order/do",
            type="CreateOrder",
            source="/saga/story",
            time=story.now.isoformat(),
            data=f'{{"order_id":"{ORDER}","saga_id":"{saga_id}",'
            '"user_id":3,"product_id":7,"quantity":2}',
            attempt=1,
        )
    ]


def test_command_carries_the_trace_of_the_request():
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    message = PlaceOrder(order_id=ORDER, user_id=3, product_id=7, quantity=2)
    state, [command] = start(place_order, "7", message, NEW_YEAR, trace)
    assert (state.traceparent, command.traceparent) == (trace, trace)


def test_command_is_built_from_the_events_so_far(created):
    created.reply(ProductReserved(order_id=ORDER, total=Decimal("12.00")))
    assert created.sent[-1].data == f'{{"order_id":"{ORDER}","user_id":3,"total":"12.00"}}'
    created.expect(ProcessPayment)


def test_input_stays_what_it_was(completed):
    start = {"order_id": str(ORDER), "user_id": 3, "product_id": 7, "quantity": 2}
    assert completed.state.input == start
    assert completed.state.context == {**start, "saga_id": completed.state.id, "total": "5.00"}


def test_times_are_those_of_the_moves(story):
    story.wait(1).reply(OrderCreated(order_id=ORDER))
    step = story.state.steps[0]
    later = NEW_YEAR + timedelta(seconds=1)
    assert (step.started_at, step.finished_at) == (NEW_YEAR, later)
    assert story.state.created_at == NEW_YEAR
    assert story.state.updated_at == later


def test_saga_is_due_when_its_commands_answer_is_overdue(story):
    assert story.state.due_at == story.now + timedelta(seconds=15)
    story.wait(10).reply(OrderCreated(order_id=ORDER)).expect(ReserveProduct)
    assert story.state.due_at == story.now + timedelta(seconds=15)


def test_nothing_happens_before_it_is_due(story, sweep):
    state, commands = sweep(seconds=14.999999)
    assert state is story.state
    assert commands == []


def test_completed_saga_has_counted_one_attempt_per_step(completed):
    assert [step.attempts for step in completed.state.steps] == [1, 1, 1, 1]
    assert [step.undo_attempts for step in completed.state.steps] == [0, 0, 0, 0]
