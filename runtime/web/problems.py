"""Errors as RFC 9457 problems: every one, Sanic's own included, is `application/problem+json`."""

import json
import logging
from asyncio import CancelledError
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails
from sanic import HTTPResponse, Request
from sanic.exceptions import BadRequest, NotFound, SanicException
from sanic.handlers import ErrorHandler

from .. import errors
from ..database.connection import UNAVAILABLE as DATABASE_UNAVAILABLE
from .problem_types import (
    BUSY,
    CONFLICT,
    CROSS_ORIGIN,
    STOPPING,
    UNKNOWN_HOST,
    ProblemType,
    of_code,
    of_status,
)

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = {"Retry-After": "1"}  # seconds

SHOWN_ERRORS = 20  # a body can hold 100,000 wrong fields; the answer need not
SHOWN_NAME = 100  # characters of a field's name


class Problem(BaseModel):
    """What went wrong: the `code` for programs, the `detail` for people; `type` tells more of it.

    `errors` says it for each field, `away` names what can't be reached.
    """

    model_config = ConfigDict(extra="allow")

    type: str
    code: str
    title: str
    status: int
    detail: str
    errors: dict[str, str] = Field(default_factory=dict)
    away: list[str] = Field(default_factory=list)


class Conflict(SanicException):
    """The state of things does not allow this, in a way that its type tells from others."""

    status_code = HTTPStatus.CONFLICT
    quiet = True

    def __init__(self, detail: str, problem_type: ProblemType = CONFLICT) -> None:
        super().__init__(detail)
        self.problem_type = problem_type


class CrossOrigin(SanicException):
    """A page of another origin has sent what may change something."""

    status_code = HTTPStatus.FORBIDDEN
    quiet = True
    problem_type = CROSS_ORIGIN


class UnknownHost(SanicException):
    """The adapter is asked for by a name that is not its own."""

    status_code = HTTPStatus.MISDIRECTED_REQUEST
    quiet = True
    problem_type = UNKNOWN_HOST


class PreconditionFailed(SanicException):
    """The thing has another state than the request is about."""

    status_code = HTTPStatus.PRECONDITION_FAILED
    quiet = True


class UnsupportedMediaType(SanicException):
    """The body is not declared as JSON."""

    status_code = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    quiet = True


class Invalid(SanicException):
    """A field, a parameter or a header is wrong."""

    status_code = HTTPStatus.UNPROCESSABLE_ENTITY
    quiet = True

    def __init__(self, reasons: Mapping[str, str]) -> None:
        names = ", ".join(reasons)
        super().__init__(f"not acceptable: {names}", context={"errors": dict(reasons)})


class Unavailable(SanicException):
    """Something that the service needs can't be reached."""

    status_code = HTTPStatus.SERVICE_UNAVAILABLE
    quiet = True

    def __init__(self, away: Sequence[str]) -> None:
        detail = f"can't be reached: {', '.join(away)}"
        super().__init__(detail, context={"away": list(away)}, headers=RETRY_AFTER)


class Busy(SanicException):
    """There is too much to do already: to be asked again a moment later."""

    status_code = HTTPStatus.SERVICE_UNAVAILABLE
    quiet = True
    problem_type = BUSY

    def __init__(self, detail: str) -> None:
        super().__init__(f"busy: {detail}", headers=RETRY_AFTER)


class Stopping(SanicException):
    """The service is stopping."""

    status_code = HTTPStatus.SERVICE_UNAVAILABLE
    quiet = True
    problem_type = STOPPING


def invalid(error: ValidationError | ArithmeticError) -> Invalid:
    """Turn what pydantic has found into a problem, one reason a field.

    An `ArithmeticError` is a number that a check can't divide: pydantic does not catch it.
    """
    if isinstance(error, ArithmeticError):
        log.info("a number can't be checked: %s", errors.first_line(error))
        return Invalid({"body": "a number is too large, or has too many digits"})
    reasons: dict[str, str] = {}
    for found in error.errors(include_url=False, include_input=False):
        name = ".".join(map(str, found["loc"]))[:SHOWN_NAME] or "body"
        reasons.setdefault(name, _reason(found))
        if len(reasons) == SHOWN_ERRORS:
            break
    return Invalid(reasons)


def _reason(found: ErrorDetails) -> str:
    """Say what is wrong with a field: in pydantic's words, or those of a `PydanticCustomError`.

    Any other exception that a check lets out may be a fault, whose words are not for the client.
    """
    if not isinstance(found.get("ctx", {}).get("error"), Exception):
        return found["msg"]
    log.info("%s: %s", ".".join(map(str, found["loc"])), found["msg"])
    return "is not acceptable"


def problem(
    problem_type: ProblemType,
    detail: str,
    headers: Mapping[str, str] | None = None,
    members: Mapping[str, Any] | None = None,
) -> HTTPResponse:
    """Answer with a problem; `members` are its further extension members."""
    body = {
        "type": problem_type.uri,
        "code": problem_type.code,
        "title": problem_type.title,
        "status": problem_type.status,
        "detail": detail,
    }
    return HTTPResponse(
        json.dumps({**body, **(members or {})}),
        status=problem_type.status,
        headers=dict(headers or {}),
        content_type=MEDIA_TYPE,
    )


class ProblemHandler(ErrorHandler):
    """Answers every exception that a request can end in with a problem."""

    def default(self, request: Request, exception: Exception) -> HTTPResponse:
        """Answer an exception; one that nobody meant is logged, and not shown."""
        known = meant(exception)
        if known is None or known.status_code == HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("%s %s failed", request.method, request.path, exc_info=exception)
            return problem(of_status(500), "something went wrong here; it has been logged")
        headers = {k: v for k, v in known.headers.items() if k.lower() != "content-length"}
        if known.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
            headers |= RETRY_AFTER
        if known.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = ", ".join(_allowed(request))
        problem_type = getattr(known, "problem_type", None) or of_status(known.status_code)
        return problem(problem_type, str(known), headers, known.context)


def _allowed(request: Request) -> list[str]:
    """List the methods that the path has: Sanic knows them for some paths only."""
    allowed = []
    for method in request.app.router.ALLOWED_METHODS:
        with suppress(SanicException):
            request.app.router.get(request.path, method, None)
            allowed.append(str(method))
    return allowed


def meant(exception: BaseException) -> SanicException | None:
    """Return what a request's end in an error means to its client; None where nobody meant it."""
    match exception:
        case SanicException():
            return exception
        case errors.Conflict():
            return Conflict(str(exception), of_code(exception.code))
        case errors.NotFound():
            return NotFound(str(exception))
        case errors.BrokerUnavailable():
            return Unavailable(["broker"])
        case _ if isinstance(exception, DATABASE_UNAVAILABLE):
            log.warning("the database is unavailable: %s", exception)
            return Unavailable(["database"])
        case CancelledError():
            return Stopping("the service is stopping")
        case UnicodeError():
            # Sanic decodes some parts of a request only when they are asked for.
            return BadRequest("the request is not valid UTF-8")
    return None
