"""JSON in and out: a body is read strictly, and each number as it was written."""

import json
import re
from collections.abc import Hashable, Mapping
from contextlib import suppress
from decimal import Decimal
from functools import lru_cache
from typing import Any, NoReturn, TypeVar, cast

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from sanic import HTTPResponse, Request
from sanic.exceptions import BadRequest
from sanic.headers import parse_content_header

from ..secret_fields import kinds_in, quiet
from .problems import Invalid, UnsupportedMediaType, invalid

T = TypeVar("T")

MEDIA_TYPE = "application/json"
_UTF8 = ("utf-8", "utf8")
# What may be a number that is not plainly whole, or one that is none in JSON.
_ODD = re.compile(rb"[0-9][.eE]|[0-9]{1000}|NaN|Infinity")

STRICT = ConfigDict(extra="forbid", strict=True)
CHANGE = ConfigDict(extra="forbid", strict=True, json_schema_extra={"minProperties": 1})


class Body(BaseModel):
    """Base of the request bodies: strictly typed, and no field that is not declared."""

    model_config = STRICT


def read(request: Request, shape: type[T]) -> T:
    """Read the request's body as `shape`, or raise the fitting problem.

    A body is JSON's text for pydantic, which so knows that JSON has no UUID, no date and no
    decimal. It takes numbers that are not whole through a float; one that no float can hold is
    refused, so what is read is what was written. JSON has one kind of number: 2.0 is the integer 2.
    """
    _check_content(request)
    body, adapter = request.body, _adapter(cast(Hashable, shape))
    if not _ODD.search(body):
        with suppress(ValidationError, ArithmeticError):  # told below, or as what is no JSON
            return cast(T, adapter.validate_json(body, strict=True))
    text = _text(body)
    try:
        valid: T = adapter.validate_json(text, strict=True)
    except ValidationError as error:
        raise invalid(quiet(error, kinds_in(shape), text)) from None
    except ArithmeticError as error:
        raise invalid(error) from None
    return valid


def read_change(request: Request, shape: type[T]) -> T:
    """Read a body that changes some fields; changing none is a mistake."""
    change = read(request, shape)
    if not change:
        raise Invalid({"body": "must name at least one field to change"})
    return change


def answer(
    model: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None
) -> HTTPResponse:
    """Answer with one object."""
    return HTTPResponse(model.model_dump_json(), status, dict(headers or {}), MEDIA_TYPE)


def created(model: BaseModel, location: str) -> HTTPResponse:
    """Answer with a new object, and say where it is."""
    return answer(model, 201, {"Location": location})


@lru_cache
def _adapter(shape: Hashable) -> TypeAdapter[Any]:
    return TypeAdapter(shape)


def _text(body: bytes) -> str | bytes:
    """Return a body's JSON, or raise the fitting problem; whole numbers in it are integers."""
    inexact: list[str] = []
    whole: list[int] = []

    def number(text: str) -> float:
        value = float(text)
        if not _same(value, text):
            inexact.append(text)
        elif value.is_integer():
            whole.append(int(Decimal(text)))
            return whole[-1]
        return value

    def integer(text: str) -> int:
        try:
            return int(text)
        except ValueError:  # Python reads at most 4,300 digits
            inexact.append(text)
            return 0

    try:
        value = json.loads(
            body.decode(), parse_float=number, parse_int=integer, parse_constant=_refuse
        )
    except RecursionError:
        raise BadRequest("the body can't be read as JSON: it is nested too deep") from None
    except ValueError as error:
        raise BadRequest(f"the body can't be read as JSON: {str(error)[:200]}") from None
    if inexact:
        what = f"JSON's numbers can't keep the digits of {inexact[0][:50]}"
        raise Invalid({"body": f"{what}: write it as a string"})
    return json.dumps(value) if whole else body


def _same(value: float, text: str) -> bool:
    try:
        return Decimal(repr(value)) == Decimal(text)
    except ArithmeticError:  # no Decimal has an exponent of twenty digits
        return False


def _check_content(request: Request) -> None:
    if not request.body:
        raise BadRequest("the body is empty; it has to be a JSON object")
    # Two headers are one with a comma, which is no media type.
    kind, parameters = parse_content_header(",".join(request.headers.getall("content-type", [])))
    if kind != MEDIA_TYPE or str(parameters.get("charset", "utf-8")).lower() not in _UTF8:
        raise UnsupportedMediaType(f"the body has to be {MEDIA_TYPE}, in UTF-8")
    codings = ",".join(request.headers.getall("content-encoding", ["identity"]))
    if codings.lower() != "identity":
        accepted = {"Accept-Encoding": "identity"}
        raise UnsupportedMediaType("the body must not be coded", headers=accepted)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
