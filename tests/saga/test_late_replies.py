"""Replies that come late, twice or from elsewhere."""

from dataclasses import replace
from decimal import Decimal
from uuid import UUID

import pytest

from saga.functions.order.messages import CancelOrder, CreateOrder, OrderCreated
from saga.functions.product.messages import ProductReserved, ReserveProduct

CREATED = OrderCreated(order_id=UUID(int=1))
RESERVED = ProductReserved(order_id=UUID(int=1), total=Decimal("5.00"))
ALL = ["create_order", "reserve_product", "process_payment", "complete_order"]
ACTIONS = [("do", "done"), ("do", "rejected"), ("do", "failed")]
UNDO_ACTIONS = [("undo", "done"), ("undo", "rejected"), ("undo", "failed")]


@pytest.fixture
def hear_nothing(story, hear):
    """See that a reply changes nothing and sends nothing."""

    def hear_nothing(step, action, outcome):
        state, commands = hear(step, action, outcome)
        assert state is story.state
        assert commands == []

    return hear_nothing


@pytest.mark.parametrize(("action", "outcome"), [*ACTIONS, *UNDO_ACTIONS])
@pytest.mark.parametrize("step", ["create_order", "complete_order", "elsewhere"])
def test_reply_of_another_step_changes_nothing(reserved, hear_nothing, step, action, outcome):
    hear_nothing(step, action, outcome)


@pytest.mark.parametrize(("action", "outcome"), UNDO_ACTIONS)
def test_undo_of_the_running_step_changes_nothing(hear_nothing, action, outcome):
    hear_nothing("create_order", action, outcome)


@pytest.mark.parametrize(("action", "outcome"), ACTIONS)
def test_late_answer_of_the_step_being_undone_changes_nothing(
    created, hear_nothing, action, outcome
):
    created.cancel()
    assert created.state.steps[1].status == "UNDOING"
    hear_nothing("reserve_product", action, outcome)


@pytest.mark.parametrize("step", ALL)
@pytest.mark.parametrize(("action", "outcome"), [*ACTIONS, *UNDO_ACTIONS])
@pytest.mark.parametrize("ending", ["completed", "compensated", "failed"])
def test_ended_saga_hears_nothing(request, hear_nothing, ending, step, action, outcome):
    story = request.getfixturevalue(ending)
    assert story.state.status == ending.upper()
    hear_nothing(step, action, outcome)


def test_ended_saga_is_never_due(completed, sweep):
    state, commands = sweep(hours=1)
    assert state is completed.state
    assert commands == []


def test_last_reply_told_again_sends_the_command_in_flight_again(created):
    before, sent = created.state, created.sent[-1]
    created.duplicate().expect(ReserveProduct).expect_nothing()
    assert created.state is before
    assert created.sent[-1] == sent


def test_command_sent_for_a_repeated_reply_is_no_new_attempt(created):
    created.silence().duplicate().expect(ReserveProduct).expect_nothing()
    assert created.sent[-1].attempt == 1
    assert created.state.steps[1].attempts == 1


def test_repeated_rejection_sends_the_undo_in_flight_again(created):
    sent = created.reject("no_stock").sent[-1]
    created.duplicate().expect_undo(CancelOrder).expect_nothing()
    assert created.sent[-1] == sent


def test_repeated_undone_sends_the_next_undo_again(reserved):
    sent = reserved.reject("no_money").reply().sent[-1]
    reserved.duplicate().expect_undo(CancelOrder).expect_nothing()
    assert reserved.sent[-1] == sent


def test_copy_of_the_last_reply_sends_nothing(created):
    before = created.state
    for _ in range(50):
        created.reply(CREATED, to=CreateOrder).expect_nothing()
    assert created.state is before


def test_record_that_was_applied_sends_again_among_any_number_of_copies(created):
    applied = created._last_reply
    created.reply(CREATED, to=CreateOrder).expect_nothing()
    created._last_reply = applied
    created.duplicate().expect(ReserveProduct).expect_nothing()


def test_record_that_was_applied_sends_nothing_in_a_back_off(created):
    applied = created._last_reply
    before = created.fail().state
    created._last_reply = applied
    created.duplicate().expect_nothing()
    assert created.state is before


def test_row_that_does_not_tell_the_record_sends_again_for_any_copy(created):
    created.state = replace(created.state, answered="create_order/do")
    created.reply(CREATED, to=CreateOrder).expect(ReserveProduct).expect_nothing()
    created.reply(RESERVED).reply(RESERVED, to=ReserveProduct).expect_nothing()


def test_row_that_has_not_kept_its_commands_body_sends_the_same_again(created):
    """Version 0.1 has kept none."""
    sent = created.sent[-1]
    steps = tuple(replace(step, body=None) for step in created.state.steps)
    created.state = replace(created.state, steps=steps)
    created.duplicate().expect(ReserveProduct).expect_nothing()
    assert created.sent[-1] == sent


@pytest.mark.parametrize("place", ["order.events[0]@6", "order.events[1]@7", "events[0]@7", ""])
def test_record_at_another_place_is_another_one(story, hear, place):
    story.state, _ = hear("create_order", place="order.events[0]@7")
    assert hear("create_order", place="order.events[0]@7")[1] != []
    assert hear("create_order", place=place) == (story.state, [])


def test_record_of_another_step_at_the_same_place_sends_nothing(reserved, hear):
    """A broker that came back empty begins at the first offset again."""
    reserved.state = replace(reserved.state, answered="reserve_product/do t[0]@0")
    assert hear("create_order", place="t[0]@0") == (reserved.state, [])


def test_older_reply_told_again_sends_nothing(reserved, hear_nothing):
    hear_nothing("create_order", "do", "done")


def test_repeated_reply_does_not_cut_a_back_off_short(created, hear_nothing):
    created.fail()
    hear_nothing("create_order", "do", "done")


def test_fault_of_a_do_is_not_taken_for_one_of_its_undo(created, hear_nothing):
    created.cancel()
    hear_nothing("reserve_product", "do", "failed")


def test_rejected_undo_changes_nothing_during_its_back_off(created, hear_nothing):
    created.reject("no_stock").fail()
    hear_nothing("create_order", "undo", "rejected")


def test_copy_of_a_rejected_undo_does_not_fail_the_retried_saga(failed, hear):
    assert failed.state.status == "FAILED"
    failed.retry()
    state, _ = hear("create_order", "undo", "rejected", attempt=1)
    assert state == failed.state
    state, _ = hear("create_order", "undo", "done", attempt=1)
    assert state.status == "COMPENSATED"
