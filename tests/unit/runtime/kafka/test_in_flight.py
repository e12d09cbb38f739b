"""Which offsets may be committed, and where to begin again, while answers are on their way."""

from hypothesis import given
from hypothesis import strategies as st

from saga.runtime.envelope import Record
from saga.runtime.kafka.in_flight import Batch, InFlight, Offsets


def batch(*offsets: int, answers: int = 1, partition: int = 0) -> Batch:
    return Batch([Record("t", None, None, [], partition, n) for n in offsets], answers)


def at(offset: int, partition: int = 0) -> Offsets:
    return {("t", partition): offset}


def in_flight(*batches: Batch) -> InFlight:
    flight = InFlight()
    for each in batches:
        flight.add(each)
    return flight


def test_batch_without_answers_is_done_at_once() -> None:
    assert in_flight(batch(3, 4, answers=0)).take_done() == at(5)


def test_batch_is_done_with_the_last_of_its_answers() -> None:
    flight = in_flight(one := batch(3, answers=2))
    one.taken()
    assert flight.take_done() == {}
    one.taken()
    assert flight.take_done() == at(4)
    assert flight.take_done() == {}


def test_later_batch_waits_for_an_earlier_one() -> None:
    flight = in_flight(first := batch(3), second := batch(4))
    second.taken()
    assert flight.take_done() == {}
    first.taken()
    assert flight.take_done() == at(5)


def test_failed_batch_is_never_done_and_tells_why() -> None:
    flight = in_flight(first := batch(3, answers=2), second := batch(4))
    for one in (first, second):
        one.failed("refused")
    first.taken()
    assert flight.take_done() == {}
    assert flight.error == "refused"


def test_what_begins_again_begins_with_the_first_batch_that_is_not_done() -> None:
    flight = in_flight(first := batch(3), batch(4, 5), batch(6))
    first.taken()
    flight.take_done()
    assert flight.take_all() == at(4)
    assert (flight.answers, flight.error, flight.take_all()) == (0, None, {})


def test_partitions_are_told_apart() -> None:
    flight = in_flight(batch(3, answers=0), batch(7, answers=0, partition=1), batch(9))
    assert flight.take_done() == at(4) | at(8, partition=1)


def test_answers_are_counted_until_their_batch_is_done() -> None:
    flight = in_flight(first := batch(3), batch(4, answers=2))
    assert flight.answers == 3
    first.taken()
    assert flight.answers == 3
    flight.take_done()
    assert flight.answers == 2


@given(st.lists(st.integers(0, 3), max_size=8), st.randoms(use_true_random=False))
def test_no_offset_is_done_before_all_answers_below_it(answers: list[int], chance) -> None:
    batches = [batch(n, answers=count) for n, count in enumerate(answers)]
    flight, taken = in_flight(*batches), 0
    deliveries = [each for each in batches for _ in range(each.answers)]
    chance.shuffle(deliveries)
    for delivery in [None, *deliveries]:
        if delivery is not None:
            delivery.taken()
        taken = flight.take_done().get(("t", 0), taken)
        assert not any(each.missing for each in batches[:taken])
        assert taken == len(batches) or batches[taken].missing
