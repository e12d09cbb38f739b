"""Reading a body of JSON as Python's types: strictly, and numbers exactly."""

import json
from datetime import date, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator
from pydantic_core import PydanticCustomError
from sanic.compat import Header
from sanic.exceptions import BadRequest

from saga.runtime.web.payload import read as read_body
from saga.runtime.web.problems import Invalid

DAY, ONE = "2027-05-01", str(UUID(int=1))
MAY = date(2027, 5, 1)
PAINT = f'{{"inside": "red", "outside": "red", "on": "{DAY}", "free": [{{"a": [1]}}, null]}}'
NO_FLOAT = "0.12345678901234567890"


class Request:
    """As much of a request as the reading needs."""

    def __init__(self, text):
        self.body = text.encode()
        self.headers = Header({"content-type": "application/json"})


class Colour(Enum):
    RED = "red"


class Size(IntEnum):
    SMALL = 1


class Place(BaseModel):
    """A field may be called as a schema's own keys are."""

    type: UUID
    default: date = MAY


class Tree(BaseModel):
    size: int
    below: "list[Tree]" = Field(default_factory=list)


class Trip(BaseModel):
    places: list[Place]


class Paint(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    inside: Colour
    outside: Colour
    on: date
    free: JsonValue = None
    trees: list[Tree] = Field(default_factory=list)


def read(shape, text):
    request: Any = Request(text)
    return read_body(request, shape)


@pytest.mark.parametrize(
    ("shape", "text", "value"),
    [
        (UUID, f'"{ONE}"', UUID(int=1)),
        (date, f'"{DAY}"', MAY),
        (date | None, "null", None),
        (timedelta, '"P1D"', timedelta(days=1)),
        (Decimal, "0.1", Decimal("0.1")),
        (Decimal, "1234567890123.45", Decimal("1234567890123.45")),
        (Decimal, f'"{NO_FLOAT}"', Decimal(NO_FLOAT)),
        (Decimal, "7", Decimal(7)),
        (list[Decimal | None], "[1.10, null]", [Decimal("1.10"), None]),
        (float, "1.5", 1.5),
        (float, "2", 2.0),
        (float, "2.0", 2.0),
        (int, "2.0", 2),
        (int, "-1e3", -1000),
        (dict[str, int], '{"ä": 9007199254740992.0}', {"ä": 2**53}),
        (Decimal, "1e300", Decimal(10**300)),
        (Colour, '"red"', Colour.RED),
        (Size, "1", Size.SMALL),
        (Literal["a", 1], "1", 1),
        (set[int], "[1, 2]", {1, 2}),
        (tuple[UUID, int], f'["{ONE}", 1]', (UUID(int=1), 1)),
        (dict[date, Decimal], f'{{"{DAY}": 0.5}}', {MAY: Decimal("0.5")}),
        (dict[int, str], '{"7": "x"}', {7: "x"}),
        (UUID | int, "3", 3),
        (UUID | int, f'"{ONE}"', UUID(int=1)),
        (Place, f'{{"type": "{ONE}", "default": "{DAY}"}}', Place(type=UUID(int=1))),
        (Tree, '{"size": 1, "below": [{"size": 2}]}', Tree(size=1, below=[Tree(size=2)])),
        (
            Paint,
            PAINT,
            Paint(inside=Colour.RED, outside=Colour.RED, on=MAY, free=[{"a": [1]}, None]),
        ),
        (Trip, f'{{"places": [{{"type": "{ONE}"}}]}}', Trip(places=[Place(type=UUID(int=1))])),
    ],
)
def test_json_is_read_as_what_it_says(shape, text, value):
    found = read(shape, text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        (int, '"1"'),
        (int, "1.5"),
        (int, '"1.0"'),
        (bool, "1.0"),
        (str, "1.0"),
        (int, "true"),
        (bool, "1"),
        (bool, '"yes"'),
        (str, "1"),
        (str, "1.5"),
        (UUID, "1"),
        (UUID, '"x"'),
        (date, "0"),
        (date, "86400"),
        (date, "1.5"),
        (Decimal, "true"),
        (Decimal, "[]"),
        (Decimal, '"x"'),
        (Annotated[Decimal, Field(max_digits=3)], "1.234"),
        (float, '"1.5"'),
        (float, "false"),
        (Colour, '"blue"'),
        (list[UUID], '["x"]'),
        (Place, '{"type": 1}'),
        (Trip, '{"places": [{"type": 1}]}'),
        (Paint, f'{PAINT[:-1]}, "trees": [{{"size": true}}]}}'),
        (Paint, f'{PAINT[:-1]}, "new": 1}}'),
        (Tree, '{"size": 1, "below": [{"size": "2"}]}'),
    ],
)
def test_json_that_says_something_else_is_refused(shape, text):
    with pytest.raises(Invalid):
        read(shape, text)


@pytest.mark.parametrize(
    "text",
    [
        NO_FLOAT,
        "1e400",
        "1e99999999999999999999",
        "-1e-99999999999999999999",
        "1" * 5000,
        f'{{"a": [1, {{"b": {NO_FLOAT}}}]}}',
    ],
)
def test_number_that_no_float_holds_is_refused(text):
    with pytest.raises(Invalid) as refused:
        read(JsonValue, text)
    assert "write it as a string" in refused.value.context["errors"]["body"]


@pytest.mark.parametrize("text", ["{", "NaN", "[" * 100_000])
def test_what_is_no_json_is_a_bad_request(text):
    with pytest.raises(BadRequest, match="can't be read as JSON"):
        read(JsonValue, text)


@pytest.mark.parametrize("text", ['"\\ud800"', "[" * 250 + "]" * 250])
def test_json_that_nobody_can_use_is_refused(text):
    with pytest.raises(Invalid):
        read(JsonValue, text)


def test_wrong_field_is_named_where_it_is():
    with pytest.raises(Invalid) as refused:
        read(Tree, '{"size": 1, "below": [{"size": 2}, {"size": "3"}]}')
    assert list(refused.value.context["errors"]) == ["below.1.size"]


class Reckoned(BaseModel):
    cents: Annotated[Decimal, Field(multiple_of=Decimal("0.01"))] = Decimal(0)
    number: str = "0"

    @field_validator("number")
    @classmethod
    def _even(cls, value):
        if int(value) % 2:
            raise PydanticCustomError("odd", "must be even")
        if value == "13_000":
            raise ValueError("what a library says may be anything")
        return value


@pytest.mark.parametrize(
    ("text", "errors"),
    [
        ('{"cents": "1e40"}', {"body": "a number is too large, or has too many digits"}),
        ('{"cents": "1e999999"}', {"body": "a number is too large, or has too many digits"}),
        (json.dumps({"number": "9" * 5000}), {"number": "is not acceptable"}),
        ('{"number": "x"}', {"number": "is not acceptable"}),
        ('{"number": "7"}', {"number": "must be even"}),
        ('{"number": "13_000"}', {"number": "is not acceptable"}),
    ],
)
def test_words_for_the_client_are_shown_and_those_of_a_fault_are_not(text, errors):
    with pytest.raises(Invalid) as refusal:
        read(Reckoned, text)
    assert refusal.value.context == {"errors": errors}


def test_body_that_is_nested_too_deep_is_refused_in_words():
    with pytest.raises(BadRequest, match=r"as JSON: it is nested too deep$"):
        read(JsonValue, "[" * 100_000)
