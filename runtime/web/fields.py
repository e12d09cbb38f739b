"""Kinds of field that any API may have, with their limits."""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from email_validator import EmailNotValidError, validate_email
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    PlainSerializer,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError, core_schema

from ..database.columns import CENTS

MAX_ID = 2**63 - 1
MAX_EXACT = 2**53  # the largest whole number that every JSON reader keeps exact

_DECIMAL = re.compile(r"-?0*[0-9]{1,20}(\.[0-9]{1,20}0*)?")
_PATH_ID = re.compile(r"[1-9][0-9]{0,18}")
# What is white space differs between the readers of patterns, in the characters named here.
_VISIBLE = r"[^\s\x00-\x1f\x7f-\x9f\ufeff]"
_NUMBER = re.compile(r"-?[0-9]{1,19}(\.[0-9]{1,19})?([eE][+-]?[0-9]{1,2})?")

_TIME = re.compile(r"[0-9-]{10}[Tt][0-9:]{8}(\.[0-9]{1,9})?([Zz]|[+-][0-9:]{5})")


def _wrong(words: str) -> PydanticCustomError:
    """Make an error whose words the client is told."""
    return PydanticCustomError("not_acceptable", "{words}", {"words": words})


def _decimal(value: object) -> object:
    """Accept a JSON number, which a body has only where a float holds it, or a decimal string."""
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        return Decimal(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, Decimal):
        return value
    raise _wrong("must be a number, or a decimal number in a string")


def _whole_cents(value: Decimal) -> Decimal:
    cents = value.quantize(CENTS)
    if cents != value:
        raise _wrong("must have at most two decimal places")
    return cents + 0  # -0.00 becomes 0.00


def _at_most(largest: int) -> str:
    """Write a pattern of the numerals, of at most two places, of what is at most `largest`."""
    digits = str(largest)
    fewer = [f"[0-9]{{1,{len(digits) - 1}}}"] if len(digits) > 1 else []
    smaller = [
        f"{digits[:place]}[0-{int(digit) - 1}]" + "[0-9]" * (len(digits) - place - 1)
        for place, digit in enumerate(digits)
        if digit != "0"
    ]
    below = rf"({'|'.join(fewer + smaller)})(\.[0-9]{{1,2}}0*)?|" if fewer + smaller else ""
    return rf"0*({below}{digits}(\.0+)?)"


def _name(value: str) -> str:
    if not re.search(_VISIBLE, value):
        raise _wrong("must not be blank")
    if "\x00" in value:
        raise _wrong("must not hold a null character")
    return value


def _email(value: str) -> str:
    # The reserved domain .test is for tests such as this project's own.
    try:
        checked = validate_email(value, check_deliverability=False, test_environment=True)
    except EmailNotValidError as error:
        raise _wrong(str(error)) from None
    return checked.normalized


def _rfc_3339(value: object) -> object:
    if isinstance(value, str) and _TIME.fullmatch(value):
        return value
    raise _wrong("must be a time as 2027-01-01T12:00:00Z")


def _whole_number(value: object) -> object:
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        number = Decimal(value)
        if number == int(number):
            return int(number)
    raise _wrong("must be a whole number")


@dataclass(frozen=True)
class Amount:
    """Marks a `Decimal` as an amount of money in a request: whole cents, at most `le`.

    `Annotated[Decimal, Amount(gt=0, le=100)]` is a JSON number or a decimal string. Without `gt` it
    is at least `ge`.
    """

    le: int
    ge: int = 0
    gt: int | None = None

    def __get_pydantic_core_schema__(
        self, _: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Return how pydantic reads it."""
        checks = (
            BeforeValidator(_decimal),
            Field(le=self.le, gt=self.gt, ge=self.ge if self.gt is None else None),
            AfterValidator(_whole_cents),
            WithJsonSchema(self._schema()),
        )
        return handler.generate_schema(Annotated[Decimal, *checks])

    def _schema(self) -> dict[str, Any]:
        lowest = {"minimum": self.ge} if self.gt is None else {"exclusiveMinimum": self.gt}
        number = {"type": "number", "multipleOf": 0.01, "maximum": self.le, **lowest}
        text = {"type": "string", "pattern": f"^{self._pattern()}$"}
        note = "At most two decimal places."
        return {"anyOf": [number, text], "description": note, "examples": ["19.99"]}

    def _pattern(self) -> str:
        """Write a pattern of the amounts, but for a lowest one over zero."""
        if self.gt is not None and self.gt >= 0:
            return rf"(?!0*(\.0*)?$){_at_most(self.le)}"
        lowest = self.ge if self.gt is None else self.gt
        return f"({_at_most(self.le)}|-{_at_most(-min(lowest, 0))})"


@dataclass(frozen=True)
class Text:
    """Marks a `str` as a text in a request that is not blank, of at most `limit` characters."""

    limit: int

    def __get_pydantic_core_schema__(
        self, _: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Return how pydantic reads it."""
        schema = {
            "type": "string",
            "minLength": 1,
            "maxLength": self.limit,
            "pattern": rf"^[^\x00]*{_VISIBLE}[^\x00]*$",
        }
        checks = (Field(max_length=self.limit), AfterValidator(_name), WithJsonSchema(schema))
        return handler.generate_schema(Annotated[str, *checks])


Money = Annotated[
    Decimal,
    PlainSerializer(lambda amount: f"{amount:.2f}", return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]+\.[0-9]{2}$", "examples": ["19.99"]}),
]
Name = Annotated[str, Text(200)]
Email = Annotated[
    str,
    Field(max_length=254),
    AfterValidator(_email),
    WithJsonSchema({"type": "string", "format": "email", "maxLength": 254}),
]
Id = Annotated[int, Field(ge=1, le=MAX_ID)]
QueryNumber = BeforeValidator(_whole_number)  # marks an integer in a query string
QueryId = Annotated[int, Field(ge=1, le=MAX_ID), QueryNumber]
QueryLimit = Annotated[int, Field(ge=1, le=1000), QueryNumber]
QueryTime = Annotated[AwareDatetime, BeforeValidator(_rfc_3339)]
QueryUuid = Annotated[UUID, WithJsonSchema({"type": "string", "format": "uuid"})]


def path_id(segment: str) -> int:
    """Read an integer id out of a path; a `ValueError` makes it an unknown path."""
    if not _PATH_ID.fullmatch(segment) or int(segment) > MAX_ID:
        raise ValueError("no id looks like that")
    return int(segment)
