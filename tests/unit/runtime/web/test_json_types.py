"""Reading values of JSON as Python's types: strictly, and numbers exactly."""

import json
from datetime import date, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from saga.runtime.web.json_types import json_validator

DAY, ONE = "2027-05-01", str(UUID(int=1))
MAY = date(2027, 5, 1)
PAINT = f'{{"inside": "red", "outside": "red", "on": "{DAY}", "free": [{{"a": [1]}}, null]}}'
NO_FLOAT = "0.12345678901234567890"


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
    return json_validator(shape).validate_python(json.loads(text, parse_float=Decimal))


@pytest.mark.parametrize(
    ("shape", "text", "value"),
    [
        (UUID, f'"{ONE}"', UUID(int=1)),
        (date, f'"{DAY}"', MAY),
        (date | None, "null", None),
        (timedelta, '"P1D"', timedelta(days=1)),
        (Decimal, NO_FLOAT, Decimal(NO_FLOAT)),
        (Decimal, f'"{NO_FLOAT}"', Decimal(NO_FLOAT)),
        (Decimal, "7", Decimal(7)),
        (list[Decimal | None], "[1.10, null]", [Decimal("1.10"), None]),
        (float, "1.5", 1.5),
        (float, "2", 2.0),
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
        (int, "1.0"),
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
    with pytest.raises(ValidationError):
        read(shape, text)
    with pytest.raises(ValidationError):  # so does pydantic, of JSON's text
        TypeAdapter(shape).validate_json(text, strict=True)


@pytest.mark.parametrize("text", ["1e400", "1" + "0" * 400])
def test_number_too_large_for_a_float_is_refused(text):
    with pytest.raises(ValidationError):
        read(float, text)


def test_wrong_field_is_named_where_it_is():
    with pytest.raises(ValidationError) as found:
        read(Tree, '{"size": 1, "below": [{"size": 2}, {"size": "3"}]}')
    assert [error["loc"] for error in found.value.errors()] == [("below", 1, "size")]
