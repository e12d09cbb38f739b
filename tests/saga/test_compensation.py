"""The way back: rejections, cancellations, deadlines."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from saga.functions.orchestrator.place_order import PlaceOrder
from saga.functions.order.messages import CancelOrder, CreateOrder, OrderCreated
from saga.functions.product.messages import ProductReserved, ReleaseProduct
from saga.functions.user.messages import RefundPayment
from saga.runtime import Saga, Step, transition
from saga.runtime.errors import Conflict, ContractError
from saga.runtime.problem import Problem

ALL = ["create_order", "reserve_product", "process_payment", "complete_order"]
REACHED = ["story", "created", "reserved", "paid"]
UNDOS = [RefundPayment, ReleaseProduct, CancelOrder]
ORDER = UUID(int=1)


def statuses(story):
    return [step.status for step in story.state.steps]


@pytest.mark.parametrize("done", range(4))
def test_rejection_undoes_what_was_done_in_reverse(request, done):
    story = request.getfixturevalue(REACHED[done])
    forward = len(story.sent)
    story.reject("no")
    for index in reversed(range(done)):
        assert story.state.status == "COMPENSATING"
        assert statuses(story)[index] == "UNDOING"
        story.expect_undo(UNDOS[2 - index]).expect_nothing().reply()
    story.expect_nothing().expect_compensated("no")
    undos = [f"{story.state.id}/{name}/undo" for name in reversed(ALL[:done])]
    assert [command.id for command in story.sent[forward:]] == undos
    assert story.state.due_at is None
    assert statuses(story) == [*["UNDONE"] * done, "REJECTED", *["PENDING"] * (3 - done)]


def test_rejection_is_the_sagas_failure(created):
    created.reject("no_stock", "because")
    failure = created.state.failure
    assert (failure.step, failure.code, failure.message) == (
        "reserve_product",
        "no_stock",
        "because",
    )
    assert created.state.steps[1].error.code == "no_stock"


def test_one_undo_is_sent_at_a_time(paid):
    paid.reject("no").expect_undo(RefundPayment).expect_nothing()
    assert statuses(paid).count("UNDOING") == 1


def test_unreadable_rejection_is_kept_as_it_came(hear):
    state, _ = hear("create_order", outcome="rejected", data="no!" * 1000)
    assert state.failure.code == "unknown"
    assert state.failure.message == ("no!" * 1000)[:1000]


def test_rejection_is_kept_as_every_database_can_keep_it(hear):
    told = Problem(code="a\0b" + "c" * 100, message="d\0e")
    state, _ = hear("create_order", outcome="rejected", data=told.model_dump_json())
    assert state.failure.code == "a\ufffdb" + "c" * 97
    assert state.failure.message == "d\ufffde"


def test_undo_is_built_from_the_context(reserved):
    data = f'{{"order_id":"{ORDER}"}}'
    reserved.reject("no_money").expect_undo(ReleaseProduct).expect_nothing()
    assert (reserved.sent[-1].topic, reserved.sent[-1].data) == ("product.release", data)
    reserved.reply().expect_undo(CancelOrder).expect_nothing()
    assert (reserved.sent[-1].topic, reserved.sent[-1].data) == ("order.cancel", data)


@pytest.mark.parametrize(
    ("running", "undos"), [(0, UNDOS[2:]), (1, UNDOS[1:]), (2, UNDOS), (3, UNDOS)]
)
def test_cancel_undoes_the_running_step_too(request, running, undos):
    story = request.getfixturevalue(REACHED[running])
    forward = len(story.sent)
    story.cancel().expect_undos(*undos).expect_nothing().expect_compensated("cancelled")
    assert len(story.sent) == forward + len(undos)
    assert story.state.failure.step == ALL[running]
    assert (story.state.failure.message, story.state.failure.public) == (
        "cancelled on request",
        True,
    )
    assert story.state.steps[running].error.code == "cancelled"
    assert statuses(story)[running] == ("FAILED" if running == 3 else "UNDONE")


def test_cancel_during_a_back_off_undoes_the_failed_step(created):
    created.fail().cancel().expect_undos(ReleaseProduct, CancelOrder).expect_compensated()


def test_cancel_of_a_compensating_saga_changes_nothing(created):
    before = created.reject("no_stock").state
    created.cancel().expect_nothing()
    assert created.state is before


@pytest.mark.parametrize("ending", ["completed", "compensated", "failed"])
def test_ended_saga_can_not_be_cancelled(request, ending):
    story = request.getfixturevalue(ending)
    with pytest.raises(Conflict, match=f"already ended: {ending.upper()}") as refused:
        story.cancel()
    assert refused.value.code == "saga_ended"


def test_deadline_undoes_what_was_done(created):
    created.now += timedelta(seconds=299)  # without a sweep
    created.reply(ProductReserved(order_id=ORDER, total=Decimal("5.00")))
    assert created.state.due_at == created.state.deadline_at
    created.silence()
    assert created.state.failure.step == "process_payment"
    assert "300 s" in created.state.failure.message
    assert created.state.failure.public
    created.expect_undos(*UNDOS).expect_nothing().expect_compensated("deadline_exceeded")


def test_answer_after_the_deadline_but_before_the_sweep_counts(story):
    story.now += timedelta(seconds=301)
    story.reply(OrderCreated(order_id=ORDER))
    assert statuses(story)[0] == "DONE"
    assert story.state.due_at == story.state.deadline_at
    story.wait(0)
    assert story.state.failure.code == "deadline_exceeded"


def test_compensation_has_no_deadline(created):
    created.reject("no_stock")
    created.now += timedelta(hours=1)
    created.silence()
    assert created.state.status == "COMPENSATING"
    assert created.state.due_at == created.now + timedelta(seconds=30)
    assert created.state.failure.code == "no_stock"


def test_undo_is_sent_again_for_ever_and_its_step_tells_that_it_waits(created):
    created.reject("no_stock")
    waits = []
    for _ in range(30):
        waits.append((created.state.due_at - created.now).total_seconds())
        created.silence().expect_undo(CancelOrder).expect_nothing()
    assert waits == [15, 30, 60, 120, 240, *[300] * 25]
    step = created.state.steps[0]
    assert (step.status, step.undo_attempts, step.error.code) == ("UNDOING", 1, "timeout")
    assert step.error.message == "no answer within 300 s, sent again"
    created.reply().expect_compensated("no_stock")


def test_undo_of_a_slow_step_waits_as_long_as_the_step(tell):
    story = tell(Step(CreateOrder, undo=CancelOrder, timeout=1000)).cancel().silence()
    assert story.state.due_at == story.now + timedelta(seconds=1000)


def test_step_without_an_undo_is_passed_over(paid):
    paid.cancel().expect_undo(RefundPayment).expect_nothing()
    assert statuses(paid)[3] == "FAILED"


def test_rejected_undo_is_left_to_a_person_and_the_others_run(reserved):
    reserved.reject("no_money").reject("no_release").expect_undo(CancelOrder).expect_nothing()
    assert statuses(reserved) == ["UNDOING", "UNDO_FAILED", "REJECTED", "PENDING"]
    reserved.reply().expect_failed("no_release")
    assert statuses(reserved) == ["UNDONE", "UNDO_FAILED", "REJECTED", "PENDING"]
    assert reserved.state.steps[1].error.code == "no_release"
    assert reserved.state.due_at is None


def test_rejection_of_an_undo_told_twice_only_sends_the_next_undo_again(reserved):
    reserved.reject("no_money").reject("no_release").duplicate().expect_undo(CancelOrder)
    assert reserved.state.steps[0].undo_attempts == 1


def test_saga_fails_with_all_that_is_open(paid):
    paid.cancel().reject("no_refund").fail("stuck", times=2).expect_undo(CancelOrder).reply()
    paid.expect_failed("no_refund").expect_failed("Fault")
    assert statuses(paid) == ["UNDONE", "UNDO_FAILED", "UNDO_FAILED", "FAILED"]


def test_step_finishes_when_it_is_refused_undone_or_can_not_be_undone(reserved):
    reserved.wait(1).reject("no_money").wait(1).reply().wait(1).reject("no_cancel")
    seconds = [step.finished_at - reserved.state.created_at for step in reserved.state.steps[:3]]
    assert seconds == [timedelta(seconds=3), timedelta(seconds=2), timedelta(seconds=1)]


def test_step_that_can_not_be_undone_finishes_when_it_is_given_up(paid):
    paid.wait(1).cancel()
    assert paid.state.steps[3].finished_at == paid.now


def test_step_that_is_being_undone_has_not_finished(created):
    created.reject("no_stock")
    assert statuses(created)[0] == "UNDOING"
    assert created.state.steps[0].finished_at is None


def test_undo_that_is_no_longer_declared_is_an_error(created):
    created.reject("no_stock")
    without = Saga("story", start=PlaceOrder, steps=[Step(CreateOrder)])
    with pytest.raises(ContractError, match="step create_order has no undo any more"):
        transition.on_due(without, created.state, created.state.due_at)


def test_first_cause_stays_the_sagas_failure(failed):
    assert failed.state.failure.step == "reserve_product"


def test_retry_tries_all_failed_undos_again_in_reverse(paid):
    paid.cancel().reject("no_refund").reject("no_release").reply().retry()
    assert statuses(paid) == ["UNDONE", "UNDO_FAILED", "UNDOING", "FAILED"]
    paid.expect_undo(RefundPayment).expect_nothing().reject("no_refund")
    paid.expect_undo(ReleaseProduct).expect_nothing().reply().expect_failed("no_refund")
    paid.retry().expect_undo(RefundPayment).expect_nothing().reply().expect_compensated("cancelled")
    assert [step.undo_attempts for step in paid.state.steps] == [1, 2, 3, 0]


def test_retry_also_undoes_what_an_earlier_version_has_left(reserved):
    """It had stopped at the first undo that failed."""
    reserved.reject("no_money").reject("no_release").reply()
    waiting = replace(reserved.state.steps[0], status="DONE", undo_attempts=0)
    reserved.state = replace(reserved.state, steps=(waiting, *reserved.state.steps[1:]))
    reserved.retry().expect_undos(ReleaseProduct, CancelOrder).expect_compensated()


@pytest.fixture
def stuck(paid):
    """A saga that has failed with two undos to be done by hand."""
    return paid.wait(1).cancel().reject("no_refund").reject("no_release").reply()


def test_undos_that_a_person_has_done_by_hand_compensate_the_saga(stuck):
    stuck.wait(1).skip("process_payment", "Ada", "paid in cash").expect_nothing()
    assert (stuck.state.status, stuck.state.updated_at) == ("FAILED", stuck.now)
    assert statuses(stuck) == ["UNDONE", "UNDO_FAILED", "UNDONE", "FAILED"]
    assert stuck.state.steps[2].error == Problem(
        code="skipped", message="Ada: paid in cash", public=True
    )
    assert stuck.state.steps[2].finished_at == stuck.now
    stuck.skip("reserve_product", "Bob", "back on its shelf").expect_nothing()
    stuck.expect_compensated("cancelled")


def test_skipped_undo_is_not_retried(stuck):
    stuck.skip("reserve_product").retry().expect_undos(RefundPayment).expect_compensated()


def test_undo_may_be_skipped_while_the_others_run(paid):
    paid.cancel().reject("no_refund").skip("process_payment").expect_nothing()
    assert statuses(paid) == ["DONE", "UNDOING", "UNDONE", "FAILED"]
    paid.reply().expect_undos(CancelOrder).expect_compensated()


def test_skip_goes_on_with_what_an_earlier_version_has_left(reserved):
    reserved.reject("no_money").reject("no_release").reply()
    waiting = replace(reserved.state.steps[0], status="DONE", undo_attempts=0)
    reserved.state = replace(reserved.state, steps=(waiting, *reserved.state.steps[1:]))
    reserved.skip("reserve_product").expect_undos(CancelOrder).expect_compensated()


def test_late_answer_to_a_skipped_undo_changes_nothing(stuck):
    stuck.skip("process_payment").skip("reserve_product")
    before = stuck.state
    stuck.reply(to=RefundPayment).expect_nothing()
    assert stuck.state is before


@pytest.mark.parametrize("step", ["create_order", "complete_order", "wrap_gift"])
def test_only_a_failed_undo_can_be_skipped(stuck, step):
    with pytest.raises(Conflict, match=f"is FAILED, and has no failed undo of '{step}'") as refused:
        stuck.skip(step)
    assert refused.value.code == "no_failed_undo"


@pytest.mark.parametrize("reached", ["created", "completed", "compensated"])
def test_saga_without_a_failed_undo_has_nothing_to_skip(request, reached):
    with pytest.raises(Conflict, match="has no failed undo"):
        request.getfixturevalue(reached).skip("create_order")


@pytest.mark.parametrize(("by", "reason"), [(" ", "paid"), ("Ada", " "), ("", "")])
def test_skip_says_who_and_why(stuck, by, reason):
    with pytest.raises(Conflict, match="by hand, and why"):
        stuck.skip("process_payment", by, reason)


def test_who_and_why_are_cut_to_their_limits(stuck):
    stuck.skip("process_payment", "A" * 101, "b" * 501)
    assert stuck.state.steps[2].error.message == "A" * 100 + ": " + "b" * 500


@pytest.mark.parametrize("reached", ["story", "created", "completed"])
def test_only_a_failed_saga_can_be_retried(request, reached):
    story = request.getfixturevalue(reached)
    with pytest.raises(Conflict, match="only a FAILED one can be retried") as refused:
        story.retry()
    assert refused.value.code == "saga_not_failed"
