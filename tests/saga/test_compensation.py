"""The way back: rejections, cancellations, deadlines."""

from datetime import timedelta

import pytest

from saga.runtime.errors import Conflict

ALL = ["make", "reserve", "pay", "finish"]


def undos(*steps):
    return [f"s/{step}/undo" for step in steps]


@pytest.mark.parametrize(
    ("at", "undone"),
    [
        ("make", []),
        ("reserve", ["make"]),
        ("pay", ["reserve", "make"]),
        ("finish", ["pay", "reserve", "make"]),
    ],
)
def test_rejection_undoes_what_was_done_in_reverse(story, at, undone):
    story.done(*ALL[: ALL.index(at)])
    forward = len(story.sent)
    story.rejected(at)
    for step in undone:
        assert story.state.status == "COMPENSATING"
        assert story.steps[step] == "UNDOING"
        story.undone(step)
    assert story.sent[forward:] == undos(*undone)
    assert story.state.status == "COMPENSATED"
    assert story.state.due_at is None
    assert story.steps == {
        name: "REJECTED" if name == at else "UNDONE" if name in undone else "PENDING"
        for name in ALL
    }


def test_rejection_is_the_sagas_failure(story):
    story.done("make").rejected("reserve")
    failure = story.state.failure
    assert (failure.step, failure.code, failure.message) == ("reserve", "no_reserve", "because")
    assert story.step("reserve").error.code == "no_reserve"


def test_one_undo_is_sent_at_a_time(story):
    story.done("make", "reserve", "pay").rejected("finish")
    assert [command.id for command in story.commands] == ["s/pay/undo"]
    assert list(story.steps.values()).count("UNDOING") == 1


def test_unreadable_rejection_is_kept_as_it_came(story):
    story.reply("make", outcome="rejected", data="no!" * 1000)
    assert story.state.failure.code == "unknown"
    assert story.state.failure.message == ("no!" * 1000)[:1000]


def test_undo_is_built_from_the_context(story):
    story.done("make").reply("reserve", data='{"price": 12}').rejected("pay")
    assert [(c.topic, c.data) for c in story.commands] == [("story.release", '{"goods":7}')]
    story.undone("reserve")
    assert [(c.topic, c.data) for c in story.commands] == [("story.unmake", '{"goods":7}')]


@pytest.mark.parametrize(
    ("at", "undone"),
    [
        ("make", ["make"]),
        ("reserve", ["reserve", "make"]),
        ("pay", ["pay", "reserve", "make"]),
        ("finish", ["pay", "reserve", "make"]),
    ],
)
def test_cancel_undoes_the_running_step_too(story, at, undone):
    story.done(*ALL[: ALL.index(at)])
    forward = len(story.sent)
    story.cancel().undone(*undone)
    assert story.sent[forward:] == undos(*undone)
    assert story.state.status == "COMPENSATED"
    assert (story.state.failure.step, story.state.failure.code) == (at, "cancelled")
    assert story.steps[at] == ("FAILED" if at == "finish" else "UNDONE")


def test_cancel_during_a_back_off_undoes_the_failed_step(story):
    story.done("make").failed("reserve").cancel()
    assert story.sent[-1] == "s/reserve/undo"
    story.undone("reserve", "make")
    assert story.state.status == "COMPENSATED"


def test_cancel_of_a_compensating_saga_changes_nothing(story):
    story.done("make").rejected("reserve")
    before = story.state
    story.cancel()
    assert story.state is before
    assert story.commands == []


@pytest.mark.parametrize("ending", ["completed", "compensated", "failed"])
def test_ended_saga_can_not_be_cancelled(story, ending):
    if ending == "completed":
        story.done(*ALL)
    else:
        story.done("make").rejected("reserve")
        story.reply("make", "undo", "done" if ending == "compensated" else "rejected")
    with pytest.raises(Conflict, match=f"already ended: {ending.upper()}"):
        story.cancel()


def test_deadline_undoes_what_was_done(story):
    story.done("make")
    story.now += timedelta(seconds=299)
    story.done("reserve")
    assert story.state.due_at == story.state.deadline_at
    story.due()
    assert (story.state.failure.step, story.state.failure.code) == ("pay", "deadline_exceeded")
    assert "300 s" in story.state.failure.message
    story.undone("pay", "reserve", "make")
    assert story.sent[-3:] == undos("pay", "reserve", "make")
    assert story.state.status == "COMPENSATED"


def test_answer_after_the_deadline_but_before_the_sweep_counts(story):
    story.now += timedelta(seconds=301)
    story.done("make")
    assert story.steps["make"] == "DONE"
    assert story.state.due_at == story.state.deadline_at
    story.wait()
    assert story.state.failure.code == "deadline_exceeded"


def test_compensation_has_no_deadline(story):
    story.done("make").rejected("reserve")
    story.now += timedelta(hours=1)
    story.due()
    assert story.state.status == "COMPENSATING"
    assert story.state.due_at == story.now + timedelta(seconds=30)


def test_undo_waits_longer_with_each_attempt(story):
    story.done("make").rejected("reserve")
    waits = []
    while story.state.due_at is not None:
        waits.append((story.state.due_at - story.now).total_seconds())
        story.now = story.state.due_at
        story.due()
    assert waits == [15, 30]


def test_step_without_an_undo_is_passed_over(story):
    story.done("make", "reserve", "pay").cancel()
    assert story.steps["finish"] == "FAILED"
    assert story.sent[-1] == "s/pay/undo"


def test_rejected_undo_fails_the_saga_at_once(story):
    story.done("make", "reserve").rejected("pay").rejected("reserve", "undo")
    assert story.state.status == "FAILED"
    assert story.steps["reserve"] == "UNDO_FAILED"
    assert story.steps["make"] == "DONE"
    assert story.step("reserve").error.code == "no_reserve"
    assert story.state.due_at is None
    assert story.commands == []


def test_first_cause_stays_the_sagas_failure(story):
    story.done("make").rejected("reserve").rejected("make", "undo")
    assert story.state.failure.step == "reserve"


def test_retry_goes_on_where_the_saga_failed(story):
    story.done("make", "reserve").rejected("pay").rejected("reserve", "undo").retry()
    assert story.state.status == "COMPENSATING"
    assert [command.id for command in story.commands] == ["s/reserve/undo"]
    assert story.step("reserve").undo_attempts == 2
    story.undone("reserve", "make")
    assert story.state.status == "COMPENSATED"


@pytest.mark.parametrize("reach", [[], ["make"], ALL])
def test_only_a_failed_saga_can_be_retried(story, reach):
    story.done(*reach)
    with pytest.raises(Conflict, match="only a FAILED one can be retried"):
        story.retry()
