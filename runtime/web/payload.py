"""JSON in and out: a body is read strictly, and never through a float."""

import json
import re
from collections.abc import Hashable, Mapping
from decimal import Decimal
from typing import Any, NoReturn, TypeVar, cast

from pydantic import BaseModel, ConfigDict, ValidationError
from sanic import HTTPResponse, Request
from sanic.exceptions import BadRequest

from .json_types import json_validator
from .problems import Invalid, UnsupportedMediaType, invalid

T = TypeVar("T")

MEDIA_TYPE = "application/json"
_JSON = re.compile(r'application/json\s*(;\s*charset="?utf-?8"?\s*)?', re.IGNORECASE)

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")

STRICT = ConfigDict(extra="forbid", strict=True)
CHANGE = ConfigDict(extra="forbid", strict=True, json_schema_extra={"minProperties": 1})


class Body(BaseModel):
    """Base of the request bodies: strictly typed, and no field that is not declared."""

    model_config = STRICT


def read(request: Request, shape: type[T]) -> T:
    """Read the request's body as `shape`, or raise the fitting problem."""
    value = _parse(request)
    try:
        valid: T = json_validator(cast(Hashable, shape)).validate_python(value)
    except ValidationError as error:
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


def _parse(request: Request) -> Any:
    if not request.body:
        raise BadRequest("the body is empty; it has to be a JSON object")
    _check_content_type(request.headers.get("content-type", ""))
    try:
        text = request.body.decode()
        value = json.loads(text, parse_float=Decimal, parse_constant=_refuse)
    # A number too large for Decimal, and arrays nested too deep, have errors of their own.
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise BadRequest(f"the body can't be read as JSON: {str(error)[:200]}") from None
    if _SURROGATE.search(text):
        _check_surrogates(value)
    return value


def _check_surrogates(value: Any) -> None:
    """Raise a 422 problem where a text holds half of a surrogate pair: no UTF-8 can hold it."""
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        raise Invalid({"body": "must not hold half of a surrogate pair"}) from None


def _check_content_type(value: str) -> None:
    if not _JSON.fullmatch(value):
        raise UnsupportedMediaType(f"the body has to be {MEDIA_TYPE}, in UTF-8")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
