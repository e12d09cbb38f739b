"""Faults, silence and back-off."""

from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from saga.functions.order.messages import CancelOrder, CreateOrder, OrderCreated
from saga.functions.product.messages import ProductReserved, ReleaseProduct
from saga.functions.user.messages import RefundPayment
from saga.runtime import Command, Event, Retry, Step
from saga.runtime.envelope import BODY_LIMIT

SECOND = timedelta(seconds=1)
ORDER = UUID(int=1)
CREATED = OrderCreated(order_id=ORDER)


def sent(story):
    return [command.type for command in story.sent]


def delay(story, attempt):
    seconds = Retry().delay(attempt, f"{story.state.id}/create_order")
    return timedelta(seconds=seconds)


def test_fault_is_waited_out(story):
    story.fail("because", code="no_create").expect_nothing()
    assert story.state.status == "RUNNING"
    assert story.state.steps[0].status == "RUNNING"
    assert story.state.steps[0].error.code == "no_create"
    assert story.state.due_at == story.now + delay(story, 1)


def test_fault_is_a_change_of_its_time(story):
    assert story.wait(1).fail().state.updated_at == story.now


def test_back_off_ends_with_the_same_command_as_a_new_attempt(story):
    story.fail().silence().expect(CreateOrder).expect_nothing()
    first, again = story.sent
    assert (again.id, again.data, again.topic) == (first.id, first.data, first.topic)
    assert (first.attempt, again.attempt) == (1, 2)
    assert story.state.steps[0].attempts == 2
    assert story.state.steps[0].started_at == story.state.created_at < story.now
    assert story.state.due_at == story.now + 15 * SECOND


def test_answer_after_a_fault_goes_on_without_an_error(story):
    story.fail().silence().reply(CREATED)
    assert story.state.steps[0].status == "DONE"
    assert story.state.steps[0].error is None
    assert sent(story) == ["CreateOrder", "CreateOrder", "ReserveProduct"]


@pytest.mark.parametrize("outcome", ["done", "rejected"])
def test_answer_during_a_back_off_counts(story, hear, outcome):
    story.fail()
    state, _ = hear("create_order", outcome=outcome)
    assert state.steps[0].status == outcome.upper()


def test_used_up_attempts_undo_the_failed_step_too(created):
    created.fail("because", code="no_reserve", times=3)
    assert created.state.failure.code == "attempts_exhausted"
    assert "reserve_product failed 3 times, lastly: because" in created.state.failure.message
    assert created.state.steps[1].error.code == "no_reserve"
    created.expect_undos(ReleaseProduct, CancelOrder).expect_compensated()
    assert sent(created)[1:] == [*["ReserveProduct"] * 3, "ReleaseProduct", "CancelOrder"]


def test_step_that_is_given_up_tells_its_last_fault(paid):
    paid.fail("first").silence().fail("then").silence().fail("lastly")
    assert paid.state.steps[3].error.message == "lastly"


def test_failed_step_without_an_undo_stays_failed(paid):
    paid.fail(times=3).expect_undos(RefundPayment, ReleaseProduct, CancelOrder)
    paid.expect_compensated()
    assert paid.state.steps[3].status == "FAILED"


def test_silence_is_answered_by_sending_the_same_attempt_again(story):
    story.silence().expect(CreateOrder).expect_nothing()
    first, again = story.sent
    assert (again.id, again.attempt) == (first.id, first.attempt)
    step = story.state.steps[0]
    assert (step.attempts, step.silences, step.error.code) == (1, 1, "timeout")
    assert step.error.message == "no answer within 15 s, sent again"
    assert step.error.public


def test_silence_doubles_the_time_out_until_the_deadline(story):
    waits = []
    while story.state.status == "RUNNING":
        waits.append((story.state.due_at - story.now).total_seconds())
        story.silence()
    assert waits == [15, 30, 60, 120, 75]
    assert story.state.failure.code == "deadline_exceeded"
    assert sent(story) == [*["CreateOrder"] * 5, "CancelOrder"]


def test_time_out_grows_no_longer_than_the_longest_wait(tell):
    story = tell(Step(CreateOrder, timeout=100), deadline=10_000).silence(times=5)
    assert story.state.due_at == story.now + 300 * SECOND


def test_time_out_that_is_longer_than_the_longest_wait_stays_as_it_is(tell):
    story = tell(Step(CreateOrder, timeout=1000), deadline=10_000).silence(times=5)
    assert story.state.due_at == story.now + 1000 * SECOND


def test_time_out_is_the_first_one_again_after_a_fault(story):
    story.silence(times=2).fail().silence()
    assert (story.state.steps[0].attempts, story.state.steps[0].silences) == (2, 0)
    assert story.state.due_at == story.now + 15 * SECOND


def test_next_step_and_an_undo_have_the_first_time_out(story):
    story.silence(times=2).reply(CREATED)
    assert story.state.steps[0].silences == 0
    assert story.state.due_at == story.now + 15 * SECOND
    story.silence(times=2).cancel()
    assert story.state.due_at == story.now + 15 * SECOND


@pytest.mark.parametrize("silences", [1, 4])
def test_service_that_is_away_for_a_while_costs_no_saga(story, silences):
    story.silence(times=silences).reply(CREATED)
    assert (story.state.status, story.state.steps[0].status) == ("RUNNING", "DONE")


def test_fault_of_any_sending_of_an_attempt_counts_once(story):
    before = story.silence().fail().state
    assert (before.steps[0].attempts, before.awaiting) == (1, False)
    assert story.duplicate().state is before
    assert story.fail(to=CreateOrder).state is before


@pytest.mark.parametrize("attempt", [0, 1, 3])
def test_fault_of_another_attempt_changes_nothing(story, hear, attempt):
    story.fail().silence()  # the second attempt is under way
    state, commands = hear("create_order", outcome="failed", attempt=attempt)
    assert state is story.state
    assert commands == []


def test_fault_told_twice_counts_once(story):
    before = story.fail().state
    story.duplicate()
    assert story.state is before


def test_delays_grow_with_the_attempts(story):
    waits = []
    for _ in range(2):
        story.fail()
        waits.append(story.state.due_at - story.now)
        story.silence()
    assert waits == [delay(story, 1), delay(story, 2)]


def test_back_off_ends_at_the_deadline(tell):
    slow = Retry(first=1000, longest=1000)
    story = tell(Step(CreateOrder, undo=CancelOrder, retry=slow), deadline=60).fail()
    assert story.state.due_at == story.state.deadline_at
    story.silence()
    assert story.state.failure.code == "deadline_exceeded"


def test_silence_ends_at_the_deadline(tell):
    story = tell(Step(CreateOrder, undo=CancelOrder, timeout=50), deadline=60).silence()
    assert story.state.due_at == story.state.deadline_at


def test_failed_undo_is_waited_out_and_sent_again(created):
    created.reject("no_stock").fail().expect_nothing()
    assert created.state.steps[0].status == "UNDOING"
    assert created.state.due_at > created.now
    created.silence().expect_undo(CancelOrder).expect_nothing()
    assert created.sent[-1].attempt == 2
    created.reply().expect_compensated()


@pytest.mark.parametrize(
    ("timeout", "waits"), [(15, [15, 30, 60, 120, 240, 300, 300]), (400, [400, 400, 400])]
)
def test_silent_undo_is_due_again_after_ever_longer_waits(tell, timeout, waits):
    story = tell(Step(CreateOrder, undo=CancelOrder, timeout=timeout), deadline=1000).cancel()
    for wait in waits:
        assert story.state.due_at == story.now + timedelta(seconds=wait)
        story.silence()


def test_undo_that_fails_for_good_fails_the_saga(created):
    created.reject("no_stock").fail(code="no_cancel", times=2).expect_failed("no_cancel")
    assert created.state.steps[0].status == "UNDO_FAILED"
    assert created.state.due_at is None


def test_retry_gives_the_undo_another_round(created):
    created.reject("no_stock").fail(times=2).expect_failed().retry()
    created.fail()
    assert created.state.status == "COMPENSATING"
    created.silence().fail().expect_failed()
    assert created.state.steps[0].undo_attempts == 4
    created.retry().expect_undos(CancelOrder).expect_compensated()


def test_retry_gives_the_undo_a_full_round_wherever_the_last_one_has_ended(created):
    created.reject("no_stock").fail().silence().reject("no_order").expect_failed("no_order")
    created.retry().reject("no_order").expect_failed("no_order")
    created.retry().fail()
    assert created.state.status == "COMPENSATING"
    created.silence().fail().expect_failed("Fault")
    assert created.state.steps[0].undo_attempts == 5


@pytest.mark.parametrize(
    "data",
    [
        "",
        "{}",
        "[]",
        f'{{"order_id": "{ORDER}", "total": "dear"}}',
        f'{{"order_id": "{ORDER}", "total": null}}',
    ],
)
def test_event_that_can_not_be_read_is_a_fault(created, hear, data):
    state, commands = hear("reserve_product", data=data)
    assert state.steps[1].status == "RUNNING"
    assert state.steps[1].error.code == "invalid_event"
    assert commands == []


def test_event_that_can_not_be_read_changes_nothing_during_a_back_off(created, hear):
    created.fail()
    assert hear("reserve_product", data="{}") == (created.state, [])


class ReservedForNothing(ProductReserved):
    """What a service may send that has changed its event."""

    total: Decimal | None = None


def test_event_that_stays_unreadable_is_undone(created):
    for _ in range(2):
        created.reply(ReservedForNothing(order_id=ORDER)).silence()
    created.reply(ReservedForNothing(order_id=ORDER))
    assert created.state.failure.code == "attempts_exhausted"
    assert "total" in created.state.steps[1].error.message
    created.expect_undos(ReleaseProduct, CancelOrder).expect_compensated()


class AnyPrice(Event, topic="story.prices"):
    price: str


class Ask(Command, topic="story.ask", event=AnyPrice):
    product_id: int


class Paid(Event, topic="story.payments"):
    pass


class PayPrice(Command, topic="story.pay", event=Paid):
    price: int


class PayLater(Command, topic="story.pay_later", event=Paid):
    user_id: int


def test_command_that_can_not_be_built_is_given_up(tell):
    story = tell(Step(CreateOrder, undo=CancelOrder), Step(Ask), Step(PayPrice, undo=RefundPayment))
    story.reply(CREATED).reply(AnyPrice(price="dear"))
    assert story.state.failure.code == "invalid_command"
    assert story.state.failure.step == "pay_price"
    assert "price" in story.state.failure.message
    story.expect_undos(RefundPayment, CancelOrder).expect_compensated()
    assert "PayPrice" not in sent(story)


class Label(Command, topic="story.label", event=Paid):
    price: str


def around(price):
    return len(Label(price=price).model_dump_json()) - len(price)


def test_command_over_the_limit_is_never_sent(tell):
    story = tell(Step(CreateOrder, undo=CancelOrder), Step(Ask), Step(Label))
    price = "x" * (BODY_LIMIT - around("x"))
    story.reply(CREATED).reply(AnyPrice(price=price + "x"))
    assert story.state.failure.step == "label"
    failure = story.state.failure
    assert (failure.code, failure.public) == ("command_too_large", True)
    assert story.state.failure.message == f"{BODY_LIMIT + 1} characters of {BODY_LIMIT}"
    story.expect_undos(CancelOrder).expect_compensated()
    assert "Label" not in sent(story)


def test_command_of_the_longest_length_is_sent(tell):
    story = tell(Step(CreateOrder, undo=CancelOrder), Step(Ask), Step(Label))
    story.reply(CREATED).reply(AnyPrice(price="x" * (BODY_LIMIT - around("x"))))
    assert story.state.status == "RUNNING"
    assert "Label" in sent(story)


def test_undo_that_can_not_be_built_fails_the_saga(tell):
    story = tell(Step(CreateOrder, undo=CancelOrder), Step(Ask), Step(PayLater, undo=PayPrice))
    story.reply(CREATED).reply(AnyPrice(price="dear")).cancel()
    assert story.state.steps[2].status == "UNDO_FAILED"
    assert story.state.steps[2].error.code == "invalid_command"
    assert story.state.steps[2].finished_at == story.now
    story.expect_undos(CancelOrder).expect_failed("invalid_command")
    story.retry().expect_nothing().expect_failed("invalid_command")


def test_single_attempt_is_not_repeated(tell):
    once = Step(CreateOrder, undo=CancelOrder, retry=Retry(attempts=1))
    story = tell(once).fail().expect_undo(CancelOrder).expect_nothing()
    assert sent(story) == ["CreateOrder", "CancelOrder"]
