"""What happened to a saga, as a test: it tells the same story, and passes."""

import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from saga.runtime.console.as_test import as_test
from saga.runtime.saga import Saga
from support.told import OrderCake, Telling, order_cake


def run(text):
    """Run a test as it is written; return the story's end."""
    scope = {}
    exec(text.replace("    story = ", "    global story\n    story = "), scope)
    [test] = [value for name, value in scope.items() if name.startswith("test_")]
    test()
    return scope["story"].state


def written(telling):
    return as_test(order_cake, telling.state, telling.timeline())


def test_test_reads_like_one_by_hand():
    telling = Telling().done(1).rejected(1, "no_sale").done(1)
    assert (
        written(telling)
        == """\
from saga.runtime.testing import given
from support.told import Bake, Baked, Eat, OrderCake, Sell, order_cake


def test_order_cake_000000000001() -> None:
    story = given(order_cake, OrderCake(cake='Tart'))
    story.expect(Bake).reply(Baked(weight=0))
    story.expect(Sell).reject('no_sale', 'it is broken')
    story.expect_undo(Eat).reply()
    story.expect_compensated('no_sale')
"""
    )


STORIES = {
    "completed": lambda t: t.done(1).done(1).done(1),
    "a fault, and another try": lambda t: t.failed(1, "Broken").due().done(1).done(1).done(1),
    "silence": lambda t: t.due().due().done(1).done(1).done(1),
    "cancelled": lambda t: t.done(1).cancel(5).done(1).done(1),
    "all attempts used up": lambda t: (
        t.failed(1, "A").due().failed(1, "B").due().failed(1, "C").done(1)
    ),
    "a failed undo, retried": lambda t: (
        t.done(1).rejected(1, "no").undo_refused(1, "no_oven").retry(50).done(1)
    ),
    "a failed undo, skipped": lambda t: (
        t.done(1).rejected(1, "no").undo_refused(1, "no_oven").skip(9, "bake", "Ada", "by hand")
    ),
    "failed": lambda t: t.done(1).rejected(1, "no").undo_refused(1, "no_oven"),
    "in flight": lambda t: t.done(1),
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_test_passes(story):
    telling = story(Telling())
    end = run(written(telling))
    assert end.status == telling.state.status
    assert [step.status for step in end.steps] == [step.status for step in telling.state.steps]


MOVES = st.sampled_from(["done", "failed", "rejected", "due", "cancel", "retry", "skip"])


@examples(st.lists(MOVES, max_size=25))
def test_whatever_happened_is_told_in_a_test_that_passes(moves):
    telling = Telling()
    for move in moves:
        telling.move(move, 1)
    end = run(written(telling))
    assert end.status == telling.state.status


def test_saga_with_a_step_that_is_gone_has_none():
    telling = Telling()
    shorter = Saga("order-cake", OrderCake, order_cake.steps[1:])
    assert as_test(shorter, telling.state, telling.timeline()) == ""
