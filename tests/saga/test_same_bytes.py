"""A command is made once: whenever it is sent again, its bytes are the same."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from pydantic import Field

from saga.runtime import Command, Event, Message, Retry, Saga, Step, transition
from saga.runtime.saga_state import from_json, to_json
from saga.runtime.testing import given


class Charged(Event, topic="bytes.events"):
    pass


class Charge(Command, topic="bytes.charge", event=Charged):
    key: UUID = Field(default_factory=uuid4)


class Refund(Command, topic="bytes.refund", event=Charged):
    refund_key: UUID = Field(default_factory=uuid4)


class Ship(Command, topic="bytes.ship", event=Charged):
    pass


class Buy(Message):
    pass


SAGA = Saga(
    "buy",
    start=Buy,
    steps=[
        Step(Charge, undo=Refund, retry=Retry(attempts=2), undo_retry=Retry(attempts=2)),
        Step(Ship),
    ],
)


@pytest.fixture
def buying():
    """A story whose commands have a key by chance."""
    return given(SAGA, Buy())


def bodies(story, cls):
    return [command.data for command in story.sent if command.type == cls.__name__]


def kept(story):
    return [step.body for step in story.state.steps]


def test_do_that_is_sent_again_has_the_same_bytes(buying):
    buying.silence().fail().silence().silence()
    sent = bodies(buying, Charge)
    assert len(sent) == 4
    assert len(set(sent)) == 1


def test_undo_has_the_same_bytes_after_silence_faults_and_an_operators_retry(buying):
    buying.reply(Charged()).reject("no").silence().fail(times=2).expect_failed("Fault")
    buying.retry().fail().silence()
    sent = bodies(buying, Refund)
    assert len(sent) == 5
    assert len(set(sent)) == 1


def test_reply_that_comes_again_sends_the_same_bytes(buying):
    refunding = buying.reply(Charged()).reject("no").duplicate()
    assert len(bodies(refunding, Refund)) == 2
    assert len(set(bodies(refunding, Refund))) == 1


def test_two_commands_have_bytes_of_their_own(buying):
    buying.cancel()
    assert bodies(buying, Charge) != bodies(buying, Refund)


def test_bytes_are_kept_while_the_command_may_be_sent_again(buying):
    assert kept(buying) == [*bodies(buying, Charge), None]
    assert kept(buying.fail()) == [*bodies(buying, Charge), None]
    assert kept(buying.silence().reply(Charged())) == [None, "{}"]
    assert kept(buying.reject("no")) == [*bodies(buying, Refund), None]


def test_bytes_of_an_undo_that_was_refused_are_made_anew(buying):
    """It has done nothing, and the next may have to say more: what refused it has changed."""
    failed = buying.reply(Charged()).reject("no").reject("invalid_command").expect_failed()
    assert kept(failed) == [None, None]
    failed.retry()
    first, second = (sent.data for sent in buying.sent if sent.type == "Refund")
    assert first != second


def test_bytes_are_gone_when_all_is_done_or_undone(buying):
    assert kept(given(SAGA, Buy()).reply(Charged()).reply(Charged())) == [None, None]
    assert kept(buying.reply(Charged()).cancel().reply()) == [None, None]
    assert "body" not in to_json(buying.state)


def test_bytes_outlive_the_process(buying):
    row = from_json(to_json(buying.state))
    _, [again] = transition.on_due(SAGA, row, row.due_at)
    assert again.data == buying.sent[0].data


def test_row_without_the_bytes_gets_them_when_its_command_is_sent_again(buying):
    older = replace(
        buying.state, steps=(replace(buying.state.steps[0], body=None), *buying.state.steps[1:])
    )
    again, [command] = transition.on_due(SAGA, older, older.due_at)
    assert again.steps[0].body == command.data
    assert Charge.model_validate_json(command.data).model_fields_set == {"key"}
    _, [third] = transition.on_due(SAGA, again, again.due_at + timedelta(minutes=1))
    assert third.data == command.data


def test_row_without_the_bytes_gets_them_when_a_reply_comes_again(buying):
    undoing = buying.reply(Charged()).reject("no")
    first, second = undoing.state.steps
    undoing.state = replace(undoing.state, steps=(replace(first, body=None), second))
    again = undoing.duplicate()
    assert kept(again) == [bodies(again, Refund)[-1], None]
