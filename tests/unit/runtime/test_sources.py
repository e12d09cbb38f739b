"""Where a command takes its fields from."""

import json
from decimal import Decimal
from typing import Annotated, Any

import pytest
from pydantic import Field

from saga.runtime import Command, Event, Message, Saga, Step
from saga.runtime.errors import ContractError
from saga.runtime.saga_state import from_json, to_json
from saga.runtime.sources import START, find_sources, known_values
from saga.runtime.testing import given


class Priced(Event, topic="sources.events"):
    order_id: int
    price: Decimal


class Rated(Event, topic="sources.events"):
    price: Decimal
    rate: int


class Gone(Event, topic="sources.events"):
    pass


class BookA(Command, topic="sources.a", event=Priced):
    order_id: int


class BookB(Command, topic="sources.b", event=Rated):
    order_id: int
    price: Decimal


class Pay(Command, topic="sources.pay", event=Gone):
    price: Decimal


class Rate(Command, topic="sources.rate", event=Gone):
    rate: int


class Trace(Command, topic="sources.trace", event=Gone):
    saga_id: str


class Note(Command, topic="sources.note", event=Gone):
    text: str = ""
    order_id: int


class Refund(Command, topic="sources.refund", event=Gone):
    price: Decimal | None


class RefundSum(Command, topic="sources.refund_sum", event=Gone):
    price: Annotated[Decimal, Field(ge=0)] | None = None


class RefundAll(Command, topic="sources.refund_all", event=Gone):
    price: Decimal = Decimal(0)


class Begin(Message):
    order_id: int


class Offer(Message):
    order_id: int
    price: Decimal


GIVEN = frozenset({"saga_id", "order_id"})
BOTH = {"book_a": Priced, "book_b": Rated}


@pytest.mark.parametrize(
    ("command", "tellers", "takes", "found"),
    [
        (BookA, {}, {}, {"order_id": START}),
        (BookA, BOTH, {}, {"order_id": START}),
        (BookA, BOTH, {"order_id": "book_a"}, {"order_id": "book_a"}),
        (Trace, BOTH, {}, {"saga_id": START}),
        (Pay, {"book_a": Priced}, {}, {"price": "book_a"}),
        (Pay, BOTH, {"price": "book_b"}, {"price": "book_b"}),
        (Pay, BOTH, {"price": "book_a", "rate": "book_b"}, {"price": "book_a"}),
        (Rate, BOTH, {}, {"rate": "book_b"}),
        (Note, BOTH, {}, {"order_id": START}),
    ],
)
def test_each_field_has_one_source(command, tellers, takes, found):
    assert find_sources(command, GIVEN, tellers, takes) == found


@pytest.mark.parametrize(
    ("command", "tellers", "takes", "why"),
    [
        (Pay, {}, {}, "Pay needs price, which neither"),
        (Rate, {"book_a": Priced}, {}, "Rate needs rate, which neither"),
        (Pay, BOTH, {}, "Pay finds price in the answers of book_a and book_b: say in which"),
        (RefundAll, BOTH, {}, "RefundAll finds price in the answers of book_a and book_b"),
        (Rate, BOTH, {"rate": "book_a"}, "Rate takes rate from book_a, no step before it that"),
        (Pay, BOTH, {"price": "book_c"}, "Pay takes price from book_c, no step before it that"),
        (BookA, {}, {"order_id": "book_b"}, "BookA takes order_id from book_b, no step before it"),
    ],
)
def test_field_that_has_no_source_or_two_is_refused(command, tellers, takes, why):
    with pytest.raises(ContractError, match=why):
        find_sources(command, GIVEN, tellers, takes)


@pytest.mark.parametrize("undo", [Refund, RefundSum, RefundAll])
def test_undo_may_take_what_its_own_step_may_not_have_told(undo):
    found = find_sources(undo, GIVEN, {"book_a": Priced}, {}, unsure="book_a")
    assert found == {"price": "book_a"}


def test_undo_that_needs_what_its_own_step_may_not_have_told_is_refused():
    with pytest.raises(ContractError, match="Pay needs price, which book_a may not have told yet"):
        find_sources(Pay, GIVEN, {"book_a": Priced}, {}, unsure="book_a")
    with pytest.raises(ContractError, match="Pay needs price, which book_a may not have told yet"):
        Saga("s", start=Begin, steps=[Step(BookA, undo=Pay)])


VALUES = {"saga_id": "s", "order_id": 7}
TOLD = {"book_a": {"price": "1"}, "book_b": {"price": "2", "rate": 3}}


@pytest.mark.parametrize(
    ("command", "sources", "told", "older", "known"),
    [
        (BookA, {"order_id": START}, TOLD, {"order_id": 8}, {"order_id": 7}),
        (Trace, {"saga_id": START}, TOLD, {"saga_id": "x"}, {"saga_id": "s"}),
        (Pay, {"price": "book_a"}, TOLD, {}, {"price": "1"}),
        (Pay, {"price": "book_b"}, TOLD, {"price": "9"}, {"price": "2"}),
        (Pay, {"price": "book_b"}, {"book_a": {"price": "1"}}, {"price": "9"}, {"price": "9"}),
        (Pay, {"price": "book_b"}, {"book_a": {"price": "1"}}, {}, {}),
        (Pay, {"price": START}, TOLD, {"price": "9"}, {"price": "9"}),
        (Refund, {"price": "book_b"}, {"book_a": {"price": "1"}}, {}, {"price": None}),
        (RefundSum, {"price": "book_b"}, {}, {}, {}),
        (RefundAll, {"price": "book_b"}, {}, {}, {}),
    ],
)
def test_value_is_the_one_of_its_source(command, sources, told, older, known):
    assert known_values(command, sources, VALUES, told, older) == known


A, B = Step(BookA), Step(BookB)


def test_saga_of_two_answers_with_one_name_says_which():
    with pytest.raises(ContractError, match="saga 's': Pay finds price in the answers of book_a"):
        Saga("s", start=Begin, steps=[A, B, Step(Pay)])
    Saga("s", start=Begin, steps=[A, B, Step(Pay, takes={"price": BookB})])


def test_name_that_the_start_has_needs_no_word():
    Saga("s", start=Offer, steps=[A, B, Step(Pay)])


def test_undo_of_two_possible_answers_says_which_too():
    undone = Step(BookB, undo=Refund)
    with pytest.raises(ContractError, match="Refund finds price in the answers of book_a and book"):
        Saga("s", start=Begin, steps=[A, undone])
    Saga("s", start=Begin, steps=[A, Step(BookB, undo=Refund, takes={"price": BookB})])
    Saga("s", start=Begin, steps=[A, Step(Note, undo=Refund, takes={"price": BookA})])


@pytest.mark.parametrize(
    ("command", "undo", "takes"),
    [
        (Pay, None, {"rate": BookB}),
        (Pay, Refund, {"rate": BookB}),
        (BookB, None, {"price": BookB}),
        (BookB, Note, {"price": BookB}),
    ],
)
def test_taking_what_no_command_has_is_refused(command, undo, takes):
    with pytest.raises(ContractError, match=r"step \w+ takes no (rate|price) from BookB"):
        Saga("s", start=Offer, steps=[Step(command, undo=undo, takes=takes)])


def test_start_message_can_not_have_the_sagas_id():
    class Known(Message):
        order_id: int
        saga_id: str

    with pytest.raises(ContractError, match="saga 's': Known can't have a field saga_id"):
        Saga("s", start=Known, steps=[A])


def tell(*steps: Step, start: Message) -> Any:
    return given(Saga("s", start=type(start), steps=list(steps)), start)


PRICED = Priced(order_id=8, price=Decimal(1))
RATED = Rated(price=Decimal(2), rate=3)


def test_event_that_repeats_a_field_of_the_start_message_changes_nothing():
    story = tell(A, B, Step(Pay), start=Offer(order_id=7, price=Decimal(5)))
    story.reply(PRICED).expect(BookB, order_id=7, price=Decimal(5))
    story.reply(RATED).expect(Pay, price=Decimal(5))
    assert [step.told for step in story.state.steps] == [{}, {"rate": 3}, {}]


def test_command_takes_what_the_step_says_it_takes():
    takes = {"price": BookA}
    story = tell(A, B, Step(Pay, takes=takes), start=Begin(order_id=7))
    story.reply(PRICED).reply(RATED).expect(Pay, price=Decimal(1))
    story = tell(A, B, Step(Pay, takes=takes), start=Offer(order_id=7, price=Decimal(5)))
    story.reply(PRICED).expect(BookB, price=Decimal(5))
    story.reply(RATED).expect(Pay, price=Decimal(1))


def test_undo_takes_the_answer_of_its_own_step_whatever_came_later():
    steps = [
        Step(BookA, undo=Refund),
        Step(BookB, undo=RefundSum, takes={"price": BookA}),
        Step(Trace),
    ]
    story = tell(*steps, start=Begin(order_id=7)).reply(PRICED).reply(RATED).reject("no")
    story.expect_undo(RefundSum, price=Decimal(1)).reply().expect_undo(Refund, price=Decimal(1))


@pytest.mark.parametrize(("undo", "price"), [(Refund, None), (RefundSum, None), (RefundAll, 0)])
def test_undo_before_its_steps_answer_does_without_it(undo, price):
    story = tell(Step(BookA, undo=undo), start=Begin(order_id=7))
    story.cancel().expect_undo(undo, price=price)


@pytest.mark.parametrize("key", ["events", "context"])
def test_saga_of_an_earlier_version_goes_on_with_what_its_row_has(key):
    steps = [Step(BookA, undo=Refund), B, Step(Pay, takes={"price": BookA})]
    saga = Saga("s", start=Begin, steps=steps)
    story = given(saga, Begin(order_id=7)).reply(PRICED)
    row = json.loads(to_json(story.state))
    row[key] = {"order_id": 8, "saga_id": "x", **row["steps"][0].pop("told")}
    story.state = from_json(json.dumps(row))
    story.reply(RATED).expect(Pay, price=Decimal(1)).reject("no")
    story.expect_undo(Refund, price=Decimal(1))
    assert story.state.context == {**story.state.given, "price": "2", "rate": 3}


def test_row_holds_only_what_is_told_beyond_the_start_message():
    story = tell(A, B, Step(Pay), start=Offer(order_id=7, price=Decimal(5)))
    row = json.loads(to_json(story.reply(PRICED).state))
    assert "told" not in row["steps"][0]
    assert "events" not in row
    story.reply(RATED)
    assert json.loads(to_json(story.state))["steps"][1]["told"] == {"rate": 3}
