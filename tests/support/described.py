"""Answers, compared with the OpenAPI document of the app that gives them."""

import json
from functools import lru_cache
from typing import Any

import httpx
import schemathesis
from pydantic import ValidationError
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.specs.openapi.schemas import OpenApiSchema

from saga.runtime.web.problems import MEDIA_TYPE, Problem

Operation = APIOperation[Any, Any, Any, Any]

HEAD_CHECKS = [status_code_conformance, content_type_conformance, response_headers_conformance]
CHECKS = [*HEAD_CHECKS, response_schema_conformance]


class Undescribed(AssertionError):
    """An answer is not what the document says."""


def check_answer(document: str, answer: httpx.Response) -> None:
    """Raise `Undescribed` where an answer is not what the document says of its operation.

    What is asked of no operation is answered with a problem, but for the docs page; and so is what
    ends in a fault of ours.
    """
    schema, request = _load(document), answer.request
    operation = _operation(schema, request)
    if operation is not None and answer.status_code != httpx.codes.INTERNAL_SERVER_ERROR:
        _check_operation(operation, answer)
    elif not request.url.path.startswith("/docs") or answer.is_error:
        _check_problem(answer)


@lru_cache
def _load(document: str) -> OpenApiSchema:
    schema = schemathesis.openapi.from_dict(json.loads(document))
    assert isinstance(schema, OpenApiSchema)
    return schema


def _operation(schema: OpenApiSchema, request: httpx.Request) -> Operation | None:
    method = "GET" if request.method == "HEAD" else request.method
    return schema.find_operation_by_path(method, request.url.path.rstrip("/"))


def _check_operation(operation: Operation, answer: httpx.Response) -> None:
    case = operation.Case(path_parameters={p.name: "any" for p in operation.path_parameters})
    checks = HEAD_CHECKS if answer.request.method == "HEAD" else CHECKS
    try:
        case.validate_response(_as_asked_plainly(answer), checks=checks)
    except schemathesis.errors.FailureGroup as failed:
        raise Undescribed(str(failed)) from None
    if answer.status_code == httpx.codes.NO_CONTENT and answer.content:
        raise Undescribed("204 with a body")


def _as_asked_plainly(answer: httpx.Response) -> httpx.Response:
    """Return the answer to a request without headers: schemathesis takes no odd ones."""
    request = httpx.Request(answer.request.method, answer.request.url)
    plain = httpx.Response(
        answer.status_code, headers=answer.headers, content=answer.content, request=request
    )
    plain.elapsed = answer.elapsed
    return plain


def _check_problem(answer: httpx.Response) -> None:
    if not answer.is_error or answer.headers.get("content-type") != MEDIA_TYPE:
        raise Undescribed(f"{answer.request.method} {answer.request.url}: {answer} is no problem")
    try:
        Problem.model_validate_json(answer.content, strict=True)
    except ValidationError as error:
        raise Undescribed(str(error)) from None
