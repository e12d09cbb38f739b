"""The test language: what it lets pass, and what it says of a story that takes another turn."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from saga.runtime import Command, Event, Message, Retry, Saga, Step
from saga.runtime.errors import Conflict, ContractError
from saga.runtime.testing import NEW_YEAR, given


class Supper(Message):
    dish: str
    guests: int


class Cooked(Event, topic="kitchen.events"):
    price: Decimal


class Binned(Event, topic="kitchen.events"):
    weight: int


class Paid(Event, topic="till.events"):
    pass


class Cook(Command, topic="kitchen.cook", event=Cooked):
    dish: str
    guests: int


class Bin(Command, topic="kitchen.bin", event=Binned):
    dish: str


class Pay(Command, topic="till.pay", event=Paid):
    price: Decimal


class Refund(Command, topic="till.refund", event=Paid):
    price: Decimal


class Serve(Command, topic="hall.serve", event=Paid):
    pass


supper = Saga(
    "supper",
    start=Supper,
    steps=[
        Step(Cook, undo=Bin, retry=Retry(attempts=3), undo_retry=Retry(attempts=2)),
        Step(Pay, undo=Refund),
        Step(Serve),
    ],
)
COOKED = Cooked(price=Decimal("12.50"))


@pytest.fixture
def story():
    return given(supper, Supper(dish="soup", guests=2))


def differs(move):
    with pytest.raises(AssertionError) as difference:
        move()
    return str(difference.value)


def title(move):
    return differs(move).partition("\n")[0]


def test_saga_runs_to_its_end(story):
    (
        story.expect(Cook, dish="soup", guests=2)
        .reply(COOKED)
        .expect(Pay, price=Decimal("12.50"))
        .reply(Paid())
        .expect(Serve)
        .reply(Paid())
        .expect_nothing()
        .expect_completed()
    )


def test_rejection_leads_to_the_undos(story):
    story.reply(COOKED).reject("no_money", "2.00 left").expect_undo(Bin, dish="soup")
    story.reply(Binned(weight=1)).expect_compensated("no_money")


def test_undos_come_one_after_another(story):
    story.reply(COOKED).reply(Paid()).reject("no_plates").expect_undos(Refund, Bin)
    story.expect_compensated("no_plates")


def test_fault_is_followed_by_a_back_off_and_another_attempt(story):
    story.fail("no gas").expect_nothing().silence().expect(Cook).reply(COOKED).expect(Pay)
    assert timedelta(seconds=0.1) <= story.now - NEW_YEAR <= timedelta(seconds=0.2)


def test_faults_use_the_attempts_up(story):
    story.fail("no gas", times=3).expect_undos(Bin).expect_compensated("attempts_exhausted")


def test_commands_sent_so_far_are_there_as_they_travel(story):
    story.fail("no gas").silence()
    sent = [(command.topic, command.attempt) for command in story.sent]
    assert sent == [("kitchen.cook", 1), ("kitchen.cook", 2)]


def test_silence_lasts_until_the_time_out(story):
    story.silence().expect(Cook)
    assert story.now == NEW_YEAR + timedelta(seconds=15)


def test_silence_lasts_twice_as_long_each_time(story):
    story.silence(times=3).expect(Cook)
    assert story.now == NEW_YEAR + timedelta(seconds=15 + 30 + 60)


def test_silence_meets_the_deadline():
    slow = Saga("slow", start=Supper, steps=[Step(Cook, undo=Bin)], deadline=20.0)
    story = given(slow, Supper(dish="soup", guests=2)).silence(times=2)
    story.expect_undos(Bin).expect_compensated("deadline_exceeded")
    assert story.now == NEW_YEAR + timedelta(seconds=20)


def test_what_is_due_while_time_passes_happens_when_it_is_due(story):
    story.wait(100.0)
    assert (len(story.sent), story.now) == (3, NEW_YEAR + timedelta(seconds=100))
    story.wait(5.0).expect(Cook)
    story.wait(1.0).expect_nothing()


def test_undo_that_fails_for_good_is_retried_on_request(story):
    story.reply(COOKED).reject("no_money").expect_undo(Bin).fail("no bin", code="Full", times=2)
    story.expect_failed("Full").retry().expect_undos(Bin).expect_compensated()


def test_undo_may_be_done_by_hand(story):
    story.reply(COOKED).reject("no_money").reject("no_bin")
    story.skip("cook", "Ada", "fed the cat").expect_compensated("no_money")
    assert "skip         cook, by Ada: fed the cat" in str(story)


def test_rejected_undo_fails_the_saga(story):
    story.reply(COOKED).reject("no_money").reject("no_bin").expect_failed("no_bin")


def test_cancel_undoes_what_may_have_been_done(story):
    story.reply(COOKED).cancel().expect_undos(Refund, Bin).expect_compensated("cancelled")


def test_what_the_saga_refuses_is_refused(story):
    with pytest.raises(Conflict, match="only a FAILED one"):
        story.retry()
    story.cancel().expect_undos(Bin)
    with pytest.raises(Conflict, match="already ended"):
        story.cancel()


def test_duplicate_reply_sends_the_command_in_flight_again(story):
    story.reply(COOKED).expect(Pay).duplicate().expect(Pay).reply(Paid()).expect(Serve)


def test_duplicate_of_an_older_reply_changes_nothing(story):
    story.reply(COOKED).reply(Paid()).expect(Serve)
    story.reply(COOKED, to=Cook).expect_nothing()
    assert "Cooked(price=12.50), which changes nothing" in str(story)


def test_time_of_the_start_can_be_chosen():
    begun = NEW_YEAR + timedelta(days=9)
    story = given(supper, Supper(dish="soup", guests=2), at=begun, saga_id="s")
    assert (story.state.created_at, story.state.id) == (begun, "s")


def test_saga_starts_from_its_own_message_alone():
    with pytest.raises(ContractError, match="supper starts from Supper, not from Cooked"):
        given(supper, COOKED)


def test_story_is_told():
    story = given(supper, Supper(dish="soup", guests=2), saga_id="s")
    story.fail("no gas").silence().reply(COOKED).duplicate().silence().reject("no_money")
    assert (
        str(story.reply().duplicate())
        == """\
the story of supper:

       0.000 s  start        Supper(dish='soup', guests=2)
       0.000 s  -> do        Cook(dish='soup', guests=2)
       0.000 s  <- failed    Cook: Fault: no gas
       0.144 s  silence
       0.144 s  -> do        Cook(dish='soup', guests=2)
       0.144 s  <- done      Cooked(price=12.50)
       0.144 s  -> do        Pay(price=12.50)
       0.144 s  <- done      Cooked(price=12.50), once more
       0.144 s  -> do        Pay(price=12.50)
      15.144 s  silence
      15.144 s  -> do        Pay(price=12.50)
      15.144 s  <- rejected  Pay: no_money
      15.144 s  -> undo      Bin(dish='soup')
      15.144 s  <- done      Bin is done
      15.144 s  <- done      Bin is done, once more, which changes nothing

it is COMPENSATED, because of no_money at pay:

    cook   UNDONE
    pay    REJECTED, no_money
    serve  PENDING"""
    )


def test_wrong_field_is_marked_where_the_story_takes_another_turn(story):
    story.expect(Cook).reply(COOKED)
    assert (
        differs(lambda: story.expect(Pay, price=Decimal("12.51")))
        == """\
expected Pay(price=12.51), but price is 12.50

the story of supper:

       0.000 s  start        Supper(dish='soup', guests=2)
       0.000 s  -> do        Cook(dish='soup', guests=2)
       0.000 s  <- done      Cooked(price=12.50)
       0.000 s  -> do        Pay(price=12.50)
  >             expected     Pay(price=12.51)
  >             but          price is 12.50

it is RUNNING, due at 15.000 s:

    cook   DONE
    pay    RUNNING
    serve  PENDING"""
    )


def test_every_wrong_field_is_named(story):
    wrong = {"dish": "stew", "guests": "2", "spoons": 2}
    assert title(lambda: story.expect(Cook, **wrong)) == (
        "expected Cook(dish='stew', guests='2', spoons=2), "
        "but dish is 'soup' and guests is 2 and there is no field spoons"
    )


@pytest.mark.parametrize(
    ("move", "said"),
    [
        (lambda s: s.expect(Pay), "expected Pay, but Cook was sent"),
        (lambda s: s.expect(Cook).expect(Cook), "expected Cook, but nothing was sent"),
        (lambda s: s.expect_undo(Bin), "expected the undo Bin, but Cook was sent"),
        (lambda s: s.cancel().expect(Bin), "expected Bin, but the undo Bin was sent"),
        (lambda s: s.fail().expect(Cook), "expected Cook, but nothing was sent"),
        (lambda s: s.expect_nothing(), "expected nothing, but Cook was sent"),
        (
            lambda s: s.cancel().expect_nothing(),
            "expected nothing, but the undo Bin was sent",
        ),
        (
            lambda s: s.reply(COOKED).cancel().expect_undos(Bin),
            "expected the undo Bin, but the undo Refund was sent",
        ),
        (
            lambda s: s.expect_completed(),
            "expected the saga to be COMPLETED, but it is RUNNING",
        ),
        (
            lambda s: s.cancel().reply().expect_compensated("no_money"),
            "expected the saga to be COMPENSATED because of no_money, "
            "but it is so because of cancelled",
        ),
        (
            lambda s: s.cancel().reject("no_bin").expect_failed("lost"),
            "expected the saga to be FAILED because of lost, but it is so because of no_bin",
        ),
        (lambda s: s.reply(Paid()), "replied Paid(), but Cook is answered by Cooked"),
        (lambda s: s.reply(), "replied nothing, but Cook is answered by Cooked"),
        (
            lambda s: s.cancel().reply(COOKED),
            "replied Cooked(price=12.50), but Bin is answered by Binned",
        ),
        (lambda s: s.reject("no", to=Pay), "rejected with no, but Pay was never sent"),
        (
            lambda s: s.cancel().reply().fail(),
            "failed with Fault, but the saga is COMPENSATED and awaits no answer",
        ),
        (lambda s: s.duplicate(), "duplicate of the last reply, but there was none"),
        (
            lambda s: s.cancel().reply().silence(),
            "silence, but the saga is COMPENSATED and not due",
        ),
    ],
)
def test_first_line_says_what_is_wrong(story, move, said):
    assert title(lambda: move(story)) == said


def test_traceback_ends_in_the_test(story):
    with pytest.raises(AssertionError) as difference:
        story.expect(Pay)
    assert difference.traceback.filter(difference)[-1].path == Path(__file__)
