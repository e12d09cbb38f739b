"""The way forward: a saga whose steps all do what they are asked."""

import json
from datetime import timedelta

import pytest

from saga.runtime.envelope import Envelope

ALL = ["make", "reserve", "pay", "finish"]


def test_start_sends_the_first_command(story):
    assert story.sent == ["s/make/do"]
    assert story.state.status == "RUNNING"
    assert list(story.steps.values()) == ["RUNNING", "PENDING", "PENDING", "PENDING"]


@pytest.mark.parametrize("answered", range(1, 4))
def test_each_answer_sends_the_next_command(story, answered):
    story.done(*ALL[:answered])
    assert story.sent == [f"s/{name}/do" for name in ALL[: answered + 1]]
    assert [story.steps[name] for name in ALL[:answered]] == ["DONE"] * answered
    assert story.steps[ALL[answered]] == "RUNNING"


def test_last_answer_completes_the_saga(story):
    story.done(*ALL)
    assert story.state.status == "COMPLETED"
    assert story.state.ended
    assert story.state.due_at is None
    assert story.state.failure is None
    assert story.sent == [f"s/{name}/do" for name in ALL]


def test_command_is_an_envelope_from_the_saga(story):
    assert story.commands == [
        Envelope(
            topic="story.make",
            id="s/make/do",
            type="Make",
            source="/saga/story",
            time=story.now.isoformat(),
            data='{"saga_id":"s","goods":7}',
            attempt=1,
        )
    ]


def test_command_is_built_from_the_events_so_far(story):
    story.done("make").reply("reserve", data='{"price": 12}')
    assert json.loads(story.commands[0].data) == {"price": 12}


def test_input_stays_what_it_was(story):
    story.done(*ALL)
    assert story.state.input == {"goods": 7}
    assert story.state.context == {"goods": 7, "saga_id": "s", "price": 5}


def test_times_are_those_of_the_moves(story):
    begun = story.now
    story.wait(seconds=1)
    story.done("make")
    step = story.step("make")
    assert (step.started_at, step.finished_at) == (begun, begun + timedelta(seconds=1))
    assert story.state.created_at == begun
    assert story.state.updated_at == begun + timedelta(seconds=1)


def test_saga_is_due_when_its_commands_answer_is_overdue(story):
    assert story.state.due_at == story.now + timedelta(seconds=15)
    story.wait(seconds=10).done("make")
    assert story.state.due_at == story.now + timedelta(seconds=15)


def test_nothing_happens_before_it_is_due(story):
    before = story.state
    story.wait(seconds=14.999999)
    assert story.state is before
    assert story.commands == []


def test_completed_saga_has_counted_one_attempt_per_step(story):
    story.done(*ALL)
    assert [step.attempts for step in story.state.steps] == [1, 1, 1, 1]
    assert [step.undo_attempts for step in story.state.steps] == [0, 0, 0, 0]
