"""A saga's declaration, and the pauses between its attempts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saga.runtime import Command, Event, Message, Retry, Saga, Step
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


def test_step_is_named_as_its_command():
    assert Step(Make).name == "make"


def test_saga_answers_on_the_topics_of_its_events():
    saga = Saga("s", start=Begin, steps=[Step(Make), Step(Pay, undo=Unpay)])
    assert saga.reply_topics == ["unit.made", "unit.paid", "unit.unpaid"]


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
    with pytest.raises(ContractError, match="UnmakeByPrice needs price"):
        Saga("s", start=Begin, steps=[Step(Make, undo=UnmakeByPrice)])


def test_undo_can_use_an_earlier_steps_answer():
    saga = Saga("s", start=Begin, steps=[Step(Make), Step(Pay, undo=UnmakeByPrice)])
    assert [step.name for step in saga.steps] == ["make", "pay"]
