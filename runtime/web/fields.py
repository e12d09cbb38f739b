"""The kinds of field that the API knows, with their limits."""

import re
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from email_validator import validate_email
from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema

from ..database.columns import CENTS

MAX_ID = 2**63 - 1
MAX_BALANCE = 10**12
# The dearest product, times the largest quantity, must still fit 63 bits of cents.
MAX_PRICE = 10**10
MAX_STOCK = 2**53  # the largest whole number that every JSON reader keeps exact
MAX_QUANTITY = 1_000_000

_DECIMAL = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?")
_PATH_ID = re.compile(r"[1-9][0-9]{0,18}")
_DIGITS = re.compile(r"[0-9]{1,19}")


def _decimal(value: object) -> object:
    """Accept a JSON number or a decimal string: never a float, which would not be exact."""
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        return Decimal(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    if isinstance(value, Decimal):
        return value
    raise ValueError("must be a number, or a decimal number in a string")


def _whole_cents(value: Decimal) -> Decimal:
    cents = value.quantize(CENTS)
    if cents != value:
        raise ValueError("must have at most two decimal places")
    return cents + 0  # -0.00 becomes 0.00


def _name(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be blank")
    if "\x00" in value:
        raise ValueError("must not hold a null character")
    return value


def _email(value: str) -> str:
    # The reserved domain .test is for tests such as this project's own.
    checked = validate_email(value, check_deliverability=False, test_environment=True)
    return checked.normalized


def _number_in_query(value: object) -> object:
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    raise ValueError("must be a whole number")


def _money_schema(highest: int, **lowest: int) -> WithJsonSchema:
    number: dict[str, Any] = {"type": "number", "maximum": highest, **lowest}
    text = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]{1,2}0*)?$"}
    note = "At most two decimal places."
    return WithJsonSchema({"anyOf": [number, text], "description": note, "examples": ["19.99"]})


Money = Annotated[
    Decimal,
    PlainSerializer(lambda amount: f"{amount:.2f}", return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]+\.[0-9]{2}$", "examples": ["19.99"]}),
]
Balance = Annotated[
    Decimal,
    BeforeValidator(_decimal),
    Field(ge=0, le=MAX_BALANCE),
    AfterValidator(_whole_cents),
    _money_schema(MAX_BALANCE, minimum=0),
]
Price = Annotated[
    Decimal,
    BeforeValidator(_decimal),
    Field(gt=0, le=MAX_PRICE),
    AfterValidator(_whole_cents),
    _money_schema(MAX_PRICE, exclusiveMinimum=0),
]
Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_name)]
Email = Annotated[
    str,
    Field(max_length=254),
    AfterValidator(_email),
    WithJsonSchema({"type": "string", "format": "email", "maxLength": 254}),
]
Id = Annotated[int, Field(ge=1, le=MAX_ID)]
Stock = Annotated[int, Field(ge=0, le=MAX_STOCK)]
Quantity = Annotated[int, Field(ge=1, le=MAX_QUANTITY)]
QueryId = Annotated[int, Field(ge=1, le=MAX_ID), BeforeValidator(_number_in_query)]
QueryLimit = Annotated[int, Field(ge=1, le=1000), BeforeValidator(_number_in_query)]
QueryUuid = Annotated[UUID, WithJsonSchema({"type": "string", "format": "uuid"})]


def path_id(segment: str) -> int:
    """Read an integer id out of a path; a `ValueError` makes it an unknown path."""
    if not _PATH_ID.fullmatch(segment) or int(segment) > MAX_ID:
        raise ValueError("no id looks like that")
    return int(segment)
