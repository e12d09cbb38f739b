"""What `saga check` says of messages that don't survive the wire."""

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from uuid import UUID, uuid4

import pytest
from pydantic import (
    UUID4,
    UUID7,
    AfterValidator,
    AliasChoices,
    AnyUrl,
    BaseModel,
    ConfigDict,
    EmailStr,
    Field,
    Json,
    PlainSerializer,
    PositiveInt,
    PrivateAttr,
    RootModel,
    create_model,
    field_serializer,
    model_validator,
)
from pydantic.alias_generators import to_camel

from saga.functions.orchestrator.place_order import place_order
from saga.runtime import Message
from saga.runtime.authoring.wire import Untried, wire_fault


class Size(Enum):
    SMALL = 1
    LARGE = 2


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    name: str


class Node(BaseModel):
    value: int
    children: list["Node"] = []
    beside: "Node | None" = None


class Aliased(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)

    sub_no: int


class Words(RootModel[list[str]]):
    pass


def message(kind: Any, *, default: Any = ..., **config: Any) -> type[Message]:
    model: Any = create_model("Sent", __base__=Message, field=(kind, default))
    return type("Sent", (model,), {"model_config": config}) if config else model


SOUND = [
    str, int, float, bool, None, bytes, Decimal, UUID, datetime, date, time, timedelta, Path,
    IPv4Address, IPv6Address, AnyUrl, EmailStr, Size, Literal["a", "b"],
    UUID4, UUID7, int | None, int | str,
    list[int], set[str], frozenset[UUID], tuple[int, str], tuple[int, ...], dict[str, int],
    dict[UUID, Decimal], Mapping[date, list[int]], Json[int], Words, Node, Aliased, Any,
    Annotated[Cat | Dog, Field(discriminator="kind")], PositiveInt, list[Node], Decimal | None,
    Annotated[int, Field(gt=7, lt=9)], Annotated[int, Field(le=-3)],
    Annotated[int, Field(ge=100)],
    Annotated[int, Field(multiple_of=5, gt=5)], Annotated[str, Field(min_length=3)],
    Annotated[str, Field(pattern="^[A-Z]{3}$")], Annotated[Decimal, Field(decimal_places=2)],
    Annotated[list[int], Field(min_length=3)], Annotated[str, Field(alias="other")],
    Annotated[str, Field(validation_alias="read", serialization_alias="read")],
    Annotated[str, Field(validation_alias="read")],
    Annotated[str, Field(validation_alias=AliasChoices("one", "two"))],
]  # fmt: skip


@pytest.mark.parametrize("kind", SOUND, ids=str)
@pytest.mark.parametrize("config", [{}, {"strict": True}, {"extra": "forbid"}], ids=str)
def test_field_that_pydantic_writes_and_reads_is_sound(kind, config):
    assert wire_fault(message(kind, **config)) is None


@pytest.mark.parametrize("default", [7, "\u00fc", True, None, uuid4])
def test_default_is_sound(default):
    kind: Any = UUID if default is uuid4 else type(default)
    field = Field(default_factory=uuid4) if default is uuid4 else default
    assert wire_fault(message(kind, default=field)) is None


class Watched(Message):
    number: int
    _seen: UUID = PrivateAttr(default_factory=uuid4)


def test_what_is_private_need_not_travel():
    assert wire_fault(Watched) is None


class Halved(Message):
    number: int

    @field_serializer("number")
    def half(self, number: int) -> float:
        return number / 2


class Kept(Message):
    number: int = 7
    secret: Annotated[int, Field(exclude=True)] = 7


class Asked(Message):
    secret: Annotated[str, Field(exclude=True)]


class Renamed(Message):
    number: Annotated[int, Field(serialization_alias="no")]


class Coded(Message):
    model_config = ConfigDict(ser_json_bytes="base64")

    data: bytes


class Milli(Message):
    model_config = ConfigDict(ser_json_temporal="milliseconds", val_temporal_unit="seconds")

    at: datetime


class Either(Message):
    value: str | Decimal


class Hidden(Message):
    model: BaseModel


class Failing(Message):
    number: Annotated[int, PlainSerializer(lambda number: 1 / (number - 7))]


@pytest.mark.parametrize(
    ("cls", "fault"),
    [
        (Halved, "sent, it can't be read again: number: Input should be a valid integer"),
        (Kept, "sent, secret = 8 comes back as 7"),
        (Asked, "sent, it can't be read again: secret: Field required"),
        (Renamed, "sent, it can't be read again: number: Field required"),
        (Coded, "sent, data = b'w7w=' comes back as b'dzd3PQ=='"),
        (Milli, "sent, it can't be read again: at: Input should be a valid datetime"),
        (Either, "sent, value = Decimal('7') comes back as '7'"),
        (Failing, "sent, it can't be read again: PydanticSerializationError"),
    ],
)
def test_what_comes_back_different_is_told(cls, fault):
    assert str(wire_fault(cls)).startswith(fault)


def refuse(value: str) -> str:
    raise KeyError(value)


class Chosen(Message):
    country: Annotated[str, AfterValidator(refuse)]


class Ruled(Message):
    least: int
    most: int

    @model_validator(mode="after")
    def ordered(self) -> Self:
        if self.least >= self.most:
            raise ValueError("nothing is between them")
        return self


class Thing:
    pass


class Odd(Message):
    model_config = ConfigDict(arbitrary_types_allowed=True)

    thing: Thing


@pytest.mark.parametrize(
    ("cls", "why"),
    [
        (Chosen, "KeyError: '\u00fc'"),
        (Ruled, "body: Value error, nothing is between them"),
        (Odd, "PydanticInvalidForJsonSchema: Cannot generate a JsonSchema for"),
    ],
)
def test_class_that_takes_no_value_that_is_thought_of_is_told_to_be_untried(cls, why):
    with pytest.raises(Untried, match=why):
        wire_fault(cls)


class Exemplary(Message):
    least: Annotated[int, Field(examples=[1])]
    most: Annotated[int, Field(examples=[2])]
    halved: Annotated[int, Field(examples=[3]), PlainSerializer(lambda number: number // 2)]


def test_examples_are_taken():
    assert wire_fault(Exemplary) == "sent, halved = 3 comes back as 1"


def test_messages_of_orders_survive():
    commands = [c for step in place_order.steps for c in (step.command, step.undo) if c]
    events = [command.event for command in commands]
    assert [wire_fault(cls) for cls in [place_order.start, *commands, *events]].count(None) == 15
