"""Replies that come late, twice or from elsewhere."""

import pytest

ALL = ["make", "reserve", "pay", "finish"]
ACTIONS = [("do", "done"), ("do", "rejected"), ("do", "failed")]
UNDO_ACTIONS = [("undo", "done"), ("undo", "rejected"), ("undo", "failed")]


def assert_nothing_changes(story, step, action, outcome, attempt=1):
    before = story.state
    story.reply(step, action, outcome, attempt=attempt)
    assert story.state is before
    assert story.commands == []


@pytest.mark.parametrize(("action", "outcome"), [*ACTIONS, *UNDO_ACTIONS])
@pytest.mark.parametrize("step", ["make", "finish", "elsewhere"])
def test_reply_of_another_step_changes_nothing(story, step, action, outcome):
    story.done("make", "reserve")
    assert_nothing_changes(story, step, action, outcome)


@pytest.mark.parametrize(("action", "outcome"), UNDO_ACTIONS)
def test_undo_of_the_running_step_changes_nothing(story, action, outcome):
    assert_nothing_changes(story, "make", action, outcome)


@pytest.mark.parametrize(("action", "outcome"), ACTIONS)
def test_late_answer_of_the_step_being_undone_changes_nothing(story, action, outcome):
    story.done("make").cancel()
    assert story.steps["reserve"] == "UNDOING"
    assert_nothing_changes(story, "reserve", action, outcome)


@pytest.mark.parametrize("step", ALL)
@pytest.mark.parametrize(("action", "outcome"), [*ACTIONS, *UNDO_ACTIONS])
@pytest.mark.parametrize("ending", ["COMPLETED", "COMPENSATED", "FAILED"])
def test_ended_saga_hears_nothing(story, ending, step, action, outcome):
    if ending == "COMPLETED":
        story.done(*ALL)
    else:
        story.done("make").rejected("reserve")
        story.reply("make", "undo", "done" if ending == "COMPENSATED" else "rejected")
    assert story.state.status == ending
    assert_nothing_changes(story, step, action, outcome)


def test_ended_saga_is_never_due(story):
    story.done(*ALL)
    before = story.state
    story.wait(hours=1)
    assert story.state is before


def test_last_reply_told_again_sends_the_command_in_flight_again(story):
    story.done("make")
    before, sent = story.state, story.commands
    story.done("make")
    assert story.state is before
    assert story.commands == sent


def test_command_sent_for_a_repeated_reply_is_no_new_attempt(story):
    story.done("make").due().done("make")
    assert [(c.id, c.attempt) for c in story.commands] == [("s/reserve/do", 2)]
    assert story.step("reserve").attempts == 2


def test_repeated_rejection_sends_the_undo_in_flight_again(story):
    story.done("make").rejected("reserve")
    sent = story.commands
    story.rejected("reserve")
    assert story.commands == sent
    assert [command.id for command in sent] == ["s/make/undo"]


def test_repeated_undone_sends_the_next_undo_again(story):
    story.done("make", "reserve").rejected("pay").undone("reserve")
    sent = story.commands
    story.undone("reserve")
    assert story.commands == sent
    assert [command.id for command in sent] == ["s/make/undo"]


def test_older_reply_told_again_sends_nothing(story):
    story.done("make", "reserve")
    assert_nothing_changes(story, "make", "do", "done")


def test_repeated_reply_does_not_cut_a_back_off_short(story):
    story.done("make").failed("reserve")
    assert_nothing_changes(story, "make", "do", "done")


def test_fault_of_a_do_is_not_taken_for_one_of_its_undo(story):
    story.done("make").cancel()
    assert_nothing_changes(story, "reserve", "do", "failed")


def test_copy_of_a_rejected_undo_does_not_fail_the_retried_saga(story):
    story.done("make").rejected("reserve").rejected("make", "undo")
    assert story.state.status == "FAILED"
    story.retry()
    before = story.state
    story.reply("make", "undo", "rejected", attempt=1)
    assert story.state == before
    story.reply("make", "undo", "done", attempt=1)
    assert story.state.status == "COMPENSATED"
