"""Messages as JSON: the wire carries what the class says."""

import json
import math
from asyncio import CancelledError
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, Field, Json, RootModel, computed_field, field_validator
from pydantic.alias_generators import to_camel

from saga.runtime import Command, Event, Message, Saga, Step, body, function
from saga.runtime.errors import Undecodable
from saga.runtime.testing import given, invoke


class Colour(Enum):
    RED = "red"


class Sub(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)

    sub_no: int


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    name: str


class Tags(RootModel[list[str]]):
    pass


class Full(Message):
    order_id: UUID
    price: Decimal
    at: datetime
    day: date
    lasting: timedelta
    colour: Colour
    marks: set[int]
    pair: tuple[int, str]
    text: bytes
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    tags: Tags
    by_id: dict[UUID, Decimal]
    nothing: int | None


FULL: dict[str, Any] = {
    "order_id": UUID(int=7),
    "price": Decimal("19.90"),
    "at": datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
    "day": date(2026, 1, 2),
    "lasting": timedelta(days=1, microseconds=1),
    "colour": Colour.RED,
    "marks": {1, 2},
    "pair": (1, "a"),
    "text": "ü".encode(),
    "pet": Dog(kind="dog", name="Rex"),
    "tags": Tags(["a"]),
    "by_id": {UUID(int=1): Decimal("0.10")},
    "nothing": None,
}


class Strict(Full):
    model_config = ConfigDict(strict=True)


class Exact(Full):
    model_config = ConfigDict(strict=True, extra="forbid", alias_generator=to_camel)


class Open(Full):
    model_config = ConfigDict(extra="allow", serialize_by_alias=True, alias_generator=to_camel)


class Named(Message):
    model_config = ConfigDict(extra="forbid")

    booking_no: Annotated[str, Field(alias="bookingNo")]
    seat_no: Annotated[int, Field(validation_alias="seat")]
    sub: Sub
    count: Json[int]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def label(self) -> str:
        return f"{self.booking_no}/{self.seat_no}"


NAMED = Named.model_validate(
    {"booking_no": "B1", "seat": 3, "sub": {"subNo": 4}, "count": "5"}, by_name=True, by_alias=True
)


class Crossed(Message):
    first: Annotated[int, Field(alias="second")]
    second: Annotated[int, Field(alias="first")]


class ByName(Crossed):
    model_config = ConfigDict(validate_by_alias=False)


class Measured(Message):
    size: float


OPEN = Open.model_validate({**FULL, "more": [1]})
MESSAGES: list[Message] = [Full(**FULL), Strict(**FULL), Exact(**FULL), OPEN, NAMED]
MESSAGES += [cls.model_validate({"first": 1, "second": 2}) for cls in (Crossed, ByName)]
MESSAGES += [Measured(size=math.inf), Measured(size=-0.1)]


@pytest.mark.parametrize("message", MESSAGES, ids=repr)
def test_message_is_read_as_it_was_written(message: Message) -> None:
    assert body.read(type(message), body.write(message)) == message


@pytest.mark.parametrize("message", MESSAGES, ids=repr)
def test_message_is_made_of_its_values(message: Message) -> None:
    assert body.made_of(type(message), body.values(message)) == message


def test_number_that_is_none_is_written_as_json() -> None:
    for written in (
        body.write(Measured(size=math.nan)),
        json.dumps(body.values(Measured(size=math.nan))),
    ):
        assert math.isnan(body.read(Measured, written).size)
        assert json.loads(written, parse_constant=pytest.fail) == {"size": "NaN"}


def test_wire_has_the_aliases_and_the_row_has_the_names() -> None:
    wire = {"bookingNo": "B1", "seat_no": 3, "sub": {"subNo": 4}, "count": "5"}
    assert json.loads(body.write(NAMED)) == wire
    row = {"booking_no": "B1", "seat_no": 3, "sub": {"sub_no": 4}, "count": "5"}
    assert body.values(NAMED) == row


def test_body_may_name_fields_as_the_class_does() -> None:
    row = '{"booking_no": "B1", "seat_no": 3, "sub": {"sub_no": 4}, "count": "5"}'
    assert body.read(Named, row) == NAMED


class Booked(Event, topic="body.events"):
    model_config = ConfigDict(strict=True, alias_generator=to_camel)

    booking_no: UUID
    price: Decimal


class Paid(Event, topic="body.events"):
    pass


class Book(Command, topic="body.book", event=Booked):
    model_config = ConfigDict(strict=True, extra="forbid", alias_generator=to_camel)

    order_id: UUID
    leaves_at: datetime


class Pay(Command, topic="body.pay", event=Paid):
    model_config = ConfigDict(strict=True, extra="forbid")

    booking_no: UUID
    price: Annotated[Decimal, Field(alias="sum")]


class Trip(Message):
    model_config = ConfigDict(strict=True, alias_generator=to_camel)

    order_id: UUID
    leaves_at: datetime


def test_saga_of_strict_messages_with_aliases_goes_on() -> None:
    saga = Saga("trip", start=Trip, steps=[Step(Book), Step(Pay)])
    leaving = datetime(2026, 5, 1, tzinfo=UTC)
    story = given(saga, Trip(order_id=UUID(int=1), leaves_at=leaving))
    story.expect(Book, order_id=UUID(int=1), leaves_at=leaving)
    assert json.loads(story.sent[0].data).keys() == {"orderId", "leavesAt"}
    story.reply(Booked(booking_no=UUID(int=2), price=Decimal("9.90")))
    story.expect(Pay, booking_no=UUID(int=2), price=Decimal("9.90"))
    assert json.loads(story.sent[1].data) == {"booking_no": str(UUID(int=2)), "sum": "9.90"}
    story.reply(Paid()).expect_completed()


def test_function_takes_and_answers_strict_messages_with_aliases() -> None:
    @function
    def book(command: Book) -> Booked:
        return Booked(booking_no=command.order_id, price=Decimal(1))

    result = invoke(book, Book(order_id=UUID(int=1), leaves_at=datetime(2026, 5, 1, tzinfo=UTC)))
    assert result.event == Booked(booking_no=UUID(int=1), price=Decimal(1))
    assert json.loads(result.record.value or b"") == {"bookingNo": str(UUID(int=1)), "price": "1"}


class Ending(Event, topic="body.events"):
    how: str

    @field_validator("how")
    @classmethod
    def end(cls, how: str) -> str:
        raise {"exit": SystemExit(3), "cancelled": CancelledError()}[how]


@pytest.mark.parametrize("how", ["exit", "cancelled"])
def test_validator_that_would_end_the_process_is_an_error_like_any_other(how: str) -> None:
    with pytest.raises(Undecodable, match="a message's class raised"):
        body.read(Ending, json.dumps({"how": how}))
    with pytest.raises(Undecodable, match="a message's class raised"):
        body.made_of(Ending, {"how": how})
