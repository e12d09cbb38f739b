"""A saga's declaration, and the pauses between its attempts."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saga.runtime import Command, Event, Message, Retry, Saga, Step
from saga.runtime.clock import YEAR
from saga.runtime.errors import ContractError


class Begin(Message):
    order_id: int


class Made(Event, topic="unit.made"):
    price: int


class Paid(Event, topic="unit.paid"):
    pass


class Unpaid(Event, topic="unit.unpaid"):
    pass


class Make(Command, topic="unit.make", event=Made):
    order_id: int
    saga_id: str


class Pay(Command, topic="unit.pay", event=Paid):
    price: int
    note: str = ""


class Unpay(Command, topic="unit.unpay", event=Unpaid):
    order_id: int


class UnmakeByPrice(Command, topic="unit.unmake", event=Made):
    price: int


RETRIES = st.builds(
    Retry,
    attempts=st.integers(1, 20),
    first=st.floats(0.001, 10),
    factor=st.floats(1, 5),
    longest=st.floats(0.001, 100),
)


@given(RETRIES, st.integers(1, 100), st.text())
def test_delay_is_between_half_and_the_whole_of_the_back_off(retry, attempt, seed):
    whole = min(retry.longest, retry.first * retry.factor ** (attempt - 1))
    assert whole / 2 <= retry.delay(attempt, seed) <= whole


@given(RETRIES, st.integers(1, 100), st.text())
def test_delay_is_the_same_for_the_same_seed(retry, attempt, seed):
    assert retry.delay(attempt, seed) == retry.delay(attempt, seed)


def test_delays_of_two_sagas_differ():
    delays = {Retry().delay(1, f"saga {n}") for n in range(100)}
    assert len(delays) > 90


def test_up_to_half_of_a_delay_is_taken_off():
    delays = [Retry(first=1).delay(1, f"saga {n}") for n in range(1000)]
    assert 0.5 <= min(delays) < 0.51
    assert 0.99 < max(delays) <= 1


def test_one_attempt_and_a_back_off_that_does_not_grow_are_taken():
    assert Retry(attempts=1, factor=1).attempts == 1


def test_back_off_grows_by_its_factor():
    retry = Retry(first=1, factor=10, longest=1000)
    bounds = [(0.5, 1), (5, 10), (50, 100), (500, 1000), (500, 1000)]
    for attempt, (least, most) in enumerate(bounds, start=1):
        assert least <= retry.delay(attempt, "s") <= most


def test_thousandth_attempt_has_a_delay():
    assert Retry().delay(1025, "s") <= 30


# One beyond the last: a deploy has lowered the attempts meanwhile.
@pytest.mark.parametrize(("attempt", "exhausted"), [(1, 0), (2, 0), (3, 1), (4, 1), (5, 1)])
def test_round_of_attempts_ends(attempt, exhausted):
    assert Retry(attempts=3).exhausted(attempt) == bool(exhausted)


@pytest.mark.parametrize("attempts", [0, -1, 1.5, math.nan, math.inf, True, "3"])
def test_attempts_that_are_no_number_of_them_are_refused(attempts):
    with pytest.raises(ContractError, match=r"Retry: attempts is .*, not 1, 2, 3"):
        Retry(attempts=attempts)


@pytest.mark.parametrize("factor", [0.5, -2, math.nan, math.inf, "2"])
def test_factor_that_is_no_growth_is_refused(factor):
    with pytest.raises(ContractError, match=r"Retry: factor is .*, not a number from 1 on"):
        Retry(factor=factor)


NO_SECONDS: list[Any] = [0, -1, math.nan, math.inf, -math.inf, YEAR + 1, "5", True, None]


@pytest.mark.parametrize("seconds", NO_SECONDS)
@pytest.mark.parametrize(
    ("declare", "what"),
    [
        (lambda seconds: Retry(longest=seconds), "Retry: longest"),
        (lambda seconds: Retry(first=seconds or -1), "Retry: first"),
        (lambda seconds: Step(Make, timeout=seconds), r"Step\(Make\): timeout"),
        (lambda seconds: Saga("s", Begin, [Step(Make)], deadline=seconds), "saga 's': deadline"),
    ],
)
def test_time_that_nothing_can_wait_is_refused_by_name(declare, what, seconds):
    with pytest.raises(ContractError, match=f"{what} is .*: give seconds, above 0 and at most"):
        declare(seconds)


def test_times_up_to_a_year_are_taken():
    step = Step(Make, timeout=YEAR, retry=Retry(first=0.001, longest=YEAR))
    assert Saga("s", start=Begin, steps=[step], deadline=YEAR).step("make") is step


def test_fault_may_be_answered_by_another_try_at_once():
    assert Retry(first=0).delay(3, "s") == 0


def test_step_is_named_as_its_command():
    assert Step(Make).name == "make"


def test_saga_answers_on_the_topics_of_its_events():
    saga = Saga("s", start=Begin, steps=[Step(Make), Step(Pay, undo=Unpay)])
    assert saga.reply_topics == ["unit.made", "unit.paid", "unit.unpaid"]


def test_name_that_is_too_long_for_a_topic_is_refused():
    assert len(Saga("s" * 239, start=Begin, steps=[Step(Make)]).ended_topic) == 245
    with pytest.raises(ContractError, match=r"saga 's+': 's+\.ended' can't be a topic"):
        Saga("s" * 240, start=Begin, steps=[Step(Make)])


def test_saga_without_steps_is_refused():
    with pytest.raises(ContractError, match="needs steps"):
        Saga("s", start=Begin)


def test_two_steps_of_one_name_are_refused():
    with pytest.raises(ContractError, match="a name of its own"):
        Saga("s", start=Begin, steps=[Step(Make), Step(Make)])


def test_field_that_nothing_provides_is_refused():
    with pytest.raises(ContractError, match="'s': Pay needs price, which neither"):
        Saga("s", start=Begin, steps=[Step(Pay), Step(Make)])


def test_undo_can_not_use_its_own_steps_answer():
    with pytest.raises(ContractError, match="price, which make may not have told yet"):
        Saga("s", start=Begin, steps=[Step(Make, undo=UnmakeByPrice)])


def test_undo_can_use_an_earlier_steps_answer():
    saga = Saga("s", start=Begin, steps=[Step(Make), Step(Pay, undo=UnmakeByPrice)])
    assert [step.name for step in saga.steps] == ["make", "pay"]
