"""Entity tags: which state of a thing a request is about (RFC 9110, sections 8.8.3 and 13.1)."""

import re
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

from pydantic import BaseModel
from sanic import HTTPResponse, Request, empty

from . import payload
from .problems import PreconditionFailed

ETAG = {"ETag": "Of the state that is shown."}
IF_MATCH = {"If-Match": "The `ETag` that it still has to have: 412 where it has another."}
IF_NONE_MATCH = {"If-None-Match": "The `ETag` of what is known: 304 where it is still so."}

_TAG = re.compile(r'(?:W/)?"[^"]*"')


def answer(
    model: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None
) -> HTTPResponse:
    """Answer with one object and its tag."""
    return payload.answer(model, status, {"ETag": _tag(model), **(headers or {})})


def show(request: Request, model: BaseModel) -> HTTPResponse:
    """Answer with one object and its tag, or that it is as the request's If-None-Match has it."""
    tag, known = _tag(model), _field(request, "if-none-match")
    # A tag that a proxy has made weak will do here.
    if known.strip() == "*" or tag in (one.removeprefix("W/") for one in _TAG.findall(known)):
        return empty(304, {"ETag": tag})
    return answer(model)


def check(request: Request, shape: type[BaseModel]) -> Callable[[Any], None]:
    """Return what raises `PreconditionFailed` for a row that is not as the If-Match has it."""
    wanted = _field(request, "if-match")

    def raise_if_changed(row: Any) -> None:
        tag = _tag(shape.model_validate(row))
        if wanted.strip() not in ("", "*") and tag not in _TAG.findall(wanted):
            raise PreconditionFailed(f"it has another state than If-Match says: {tag}")

    return raise_if_changed


def _tag(model: BaseModel) -> str:
    return f'"{sha256(model.model_dump_json().encode()).hexdigest()[:32]}"'


def _field(request: Request, name: str) -> str:
    return ",".join(request.headers.getall(name, []))
