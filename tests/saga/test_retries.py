"""Faults, silence and back-off."""

from datetime import timedelta

import pytest

from saga.runtime import Command, Event, Retry, Step

SECOND = timedelta(seconds=1)


class Ended(Event, topic="story.ended"):
    pass


class Try(Command, topic="story.try", event=Ended):
    goods: int


class Untry(Command, topic="story.untry", event=Ended):
    goods: int


def test_fault_is_waited_out(story):
    story.failed("make")
    assert story.commands == []
    assert story.state.status == "RUNNING"
    assert story.steps["make"] == "RUNNING"
    assert story.step("make").error.code == "no_make"
    delay = timedelta(seconds=Retry().delay(1, "s/make"))
    assert story.state.due_at == story.now + delay


def test_back_off_ends_with_the_same_command_as_a_new_attempt(story):
    first = story.commands[0]
    story.failed("make").due()
    again = story.commands[0]
    assert (again.id, again.data, again.topic) == (first.id, first.data, first.topic)
    assert (first.attempt, again.attempt) == (1, 2)
    assert story.step("make").attempts == 2
    assert story.state.due_at == story.now + 15 * SECOND


def test_answer_after_a_fault_goes_on_without_an_error(story):
    story.failed("make").due().done("make")
    assert story.steps["make"] == "DONE"
    assert story.step("make").error is None
    assert story.sent == ["s/make/do", "s/make/do", "s/reserve/do"]


@pytest.mark.parametrize("outcome", ["done", "rejected"])
def test_answer_during_a_back_off_counts(story, outcome):
    story.failed("make").reply("make", outcome=outcome)
    assert story.steps["make"] == outcome.upper()


def test_used_up_attempts_undo_the_failed_step_too(story):
    story.done("make")
    for attempt in (1, 2):
        story.failed("reserve", attempt=attempt).due()
    story.failed("reserve", attempt=3)
    assert story.state.failure.code == "attempts_exhausted"
    assert "reserve failed 3 times, lastly: because" in story.state.failure.message
    assert story.step("reserve").error.code == "no_reserve"
    story.undone("reserve", "make")
    assert story.sent[1:] == [*["s/reserve/do"] * 3, "s/reserve/undo", "s/make/undo"]
    assert story.state.status == "COMPENSATED"


def test_failed_step_without_an_undo_stays_failed(story):
    story.done("make", "reserve", "pay")
    for attempt in (1, 2):
        story.failed("finish", attempt=attempt).due()
    story.failed("finish", attempt=3).undone("pay", "reserve", "make")
    assert story.steps["finish"] == "FAILED"
    assert story.state.status == "COMPENSATED"


def test_silence_is_answered_by_sending_again(story):
    story.due()
    assert [command.id for command in story.commands] == ["s/make/do"]
    assert story.step("make").attempts == 2
    assert story.step("make").error.code == "timeout"
    assert story.state.due_at == story.now + 15 * SECOND


def test_silence_uses_attempts_up(story):
    story.due().due().due()
    assert story.state.failure.code == "attempts_exhausted"
    assert story.sent == [*["s/make/do"] * 3, "s/make/undo"]


@pytest.mark.parametrize("attempt", [0, 1, 3])
def test_fault_of_another_attempt_changes_nothing(story, attempt):
    story.due()  # the second attempt is under way
    before = story.state
    story.failed("make", attempt=attempt)
    assert story.state is before
    assert story.commands == []


def test_fault_told_twice_counts_once(story):
    story.failed("make")
    before = story.state
    story.failed("make")
    assert story.state is before


def test_delays_grow_with_the_attempts(story):
    waits = []
    for attempt in (1, 2):
        story.failed("make", attempt=attempt)
        waits.append(story.state.due_at - story.now)
        story.due()
    assert waits == [timedelta(seconds=Retry().delay(n, "s/make")) for n in (1, 2)]


def test_back_off_ends_at_the_deadline(tell):
    story = tell(Step(Try, undo=Untry, retry=Retry(first=1000, longest=1000)), deadline=60)
    story.failed("try")
    assert story.state.due_at == story.state.deadline_at
    story.due()
    assert story.state.failure.code == "deadline_exceeded"


def test_silence_ends_at_the_deadline(tell):
    story = tell(Step(Try, undo=Untry, timeout=50), deadline=60)
    story.due()
    assert story.state.due_at == story.state.deadline_at


def test_failed_undo_is_waited_out_and_sent_again(story):
    story.done("make").rejected("reserve").failed("make", "undo")
    assert story.steps["make"] == "UNDOING"
    assert story.commands == []
    assert story.state.due_at > story.now
    story.due()
    assert [(c.id, c.attempt) for c in story.commands] == [("s/make/undo", 2)]
    story.undone("make")
    assert story.state.status == "COMPENSATED"


def test_undo_that_fails_for_good_fails_the_saga(story):
    story.done("make").rejected("reserve").failed("make", "undo").due()
    story.failed("make", "undo", attempt=2)
    assert story.state.status == "FAILED"
    assert story.steps["make"] == "UNDO_FAILED"
    assert story.state.due_at is None
    assert story.step("make").error.code == "no_make"


def test_silent_undo_fails_the_saga_too(story):
    story.done("make").rejected("reserve").due().due()
    assert story.state.status == "FAILED"
    assert story.step("make").error.code == "timeout"
    assert story.sent.count("s/make/undo") == 2


def test_retry_gives_the_undo_another_round(story):
    story.done("make").rejected("reserve").due().due().retry()
    assert story.state.status == "COMPENSATING"
    story.due()
    assert story.state.status == "COMPENSATING"
    story.due()
    assert story.state.status == "FAILED"
    assert story.step("make").undo_attempts == 4
    story.retry().undone("make")
    assert story.state.status == "COMPENSATED"


@pytest.mark.parametrize("event", ["", "{}", '{"price": "dear"}', "[]", '{"price": null}'])
def test_event_that_can_not_be_read_is_a_fault(story, event):
    story.done("make").reply("reserve", data=event)
    assert story.steps["reserve"] == "RUNNING"
    assert story.step("reserve").error.code == "invalid_event"
    assert story.commands == []


def test_event_that_stays_unreadable_is_undone(story):
    story.done("make")
    for _ in range(2):
        story.reply("reserve", data="{}").due()
    story.reply("reserve", data="{}")
    assert story.state.failure.code == "attempts_exhausted"
    assert "price" in story.step("reserve").error.message
    story.undone("reserve", "make")
    assert story.state.status == "COMPENSATED"


class AnyPrice(Event, topic="story.any_price"):
    price: str


class Ask(Command, topic="story.ask", event=AnyPrice):
    goods: int


class PayPrice(Command, topic="story.pay", event=Ended):
    price: int


def test_command_that_can_not_be_built_is_given_up(tell):
    story = tell(Step(Try, undo=Untry), Step(Ask), Step(PayPrice, undo=Untry))
    story.done("try").reply("ask", data='{"price": "dear"}')
    assert story.state.failure.code == "invalid_command"
    assert story.state.failure.step == "pay_price"
    assert "price" in story.state.failure.message
    story.undone("pay_price", "try")
    assert story.state.status == "COMPENSATED"
    assert "s/pay_price/do" not in story.sent


def test_undo_that_can_not_be_built_fails_the_saga(tell):
    story = tell(Step(Try, undo=Untry), Step(Ask), Step(Try2, undo=UntryPrice))
    story.done("try").reply("ask", data='{"price": "dear"}').cancel()
    assert story.state.status == "FAILED"
    assert story.steps["try2"] == "UNDO_FAILED"
    assert story.commands == []
    story.retry()
    assert story.state.status == "FAILED"


class Try2(Command, topic="story.try2", event=Ended):
    goods: int


class UntryPrice(Command, topic="story.untry", event=Ended):
    price: int


def test_single_attempt_is_not_repeated(tell):
    story = tell(Step(Try, undo=Untry, retry=Retry(attempts=1)))
    story.failed("try")
    assert story.sent == ["s/try/do", "s/try/undo"]
