"""A command that the broker never takes: no more attempts are made, what is done is undone."""

import pytest

from saga.functions.order.messages import CancelOrder
from saga.functions.product.messages import ReleaseProduct

STEP = "reserve_product"


def test_do_that_is_never_sent_gives_the_saga_up(created, hear):
    state, [undo] = hear(STEP, outcome="unsent")
    assert (state.status, state.failure.step, state.failure.code) == ("COMPENSATING", STEP, "no")
    assert (state.steps[1].status, state.steps[1].attempts) == ("UNDOING", 1)
    # An earlier sending may have arrived.
    assert undo.type == ReleaseProduct.__name__


def test_undo_that_is_never_sent_is_left_to_a_person_and_the_others_go_on(created, hear):
    created.cancel()
    state, [undo] = hear(STEP, "undo", "unsent")
    assert [step.status for step in state.steps[:2]] == ["UNDOING", "UNDO_FAILED"]
    assert undo.type == CancelOrder.__name__


@pytest.mark.parametrize("attempt", [2, 3])
def test_of_another_attempt_it_changes_nothing(created, hear, attempt):
    state, commands = hear(STEP, outcome="unsent", attempt=attempt)
    assert state is created.state
    assert commands == []


def test_of_one_whose_answer_has_come_it_changes_nothing(reserved, hear):
    state, commands = hear(STEP, outcome="unsent")
    assert state is reserved.state
    assert commands == []


def test_in_a_back_off_it_changes_nothing(created, hear):
    created.fail("oops")
    state, commands = hear(STEP, outcome="unsent")
    assert state is created.state
    assert commands == []
