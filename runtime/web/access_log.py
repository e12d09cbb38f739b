"""The access log of an adapter: a line for each answer, and whose lines those of a request are."""

import logging
import time
from typing import Any

from sanic.response import BaseHTTPResponse

from ..log_fields import Fields, know, known_fields, record_of, trace_fields
from . import headers

log = logging.getLogger("saga.access")

ASKED_OFTEN = ("/health", "/metrics")  # by machines: below INFO
BODILESS = (204, 304)
LONGEST_ID = 100  # characters of a request's id


async def begin(request: Any) -> None:
    """Let what is logged on behalf of a request carry its trace, and its saga's id if it has one.

    A connection's requests are one after the other in one task: each forgets those before it.
    """
    request.ctx.traceparent = given = headers.given_traceparent(request)
    fields = trace_fields(given)
    if saga_id := request.match_info.get("saga_id"):
        fields["saga_id"] = str(saga_id)
    know(fields)


def note_saga(saga_id: str, traceparent: str | None) -> None:
    """Let what is logged from now on behalf of a request carry the id of the saga it started."""
    know({**known_fields(), "saga_id": saga_id, **trace_fields(traceparent)})


async def write(request: Any, response: BaseHTTPResponse) -> None:
    """Write the line of an answer, as soon as that is ready to be sent.

    `ctx.by_itself` of a request says that a page asks, and not a person: below INFO.
    """
    by_itself = getattr(request.ctx, "by_itself", False)
    often = by_itself or request.path.startswith(ASKED_OFTEN)
    level = logging.DEBUG if often else logging.INFO
    if not log.isEnabledFor(level):
        return
    given = _fields(request, response)
    words = (
        given["client"],
        given["method"],
        given["path"],
        given["status"],
        given.get("bytes", "?"),
        given["duration"] * 1000,
    )
    told = '%s "%s %s" %d %s bytes, %.1f ms'
    log.handle(record_of(log, level, told, words, given))


def _fields(request: Any, response: BaseHTTPResponse) -> Fields:
    """Describe an exchange; a path's query may be anybody's data, and stays out of it."""
    given: Fields = {
        "client": request.ip,
        "method": request.method,
        "path": request.path,
        "status": response.status,
        "duration": round(time.perf_counter() - request.began, 6),  # seconds
    }
    body = b"" if request.method == "HEAD" else getattr(response, "body", None)
    if body or request.method == "HEAD" or response.status in BODILESS:  # else it is a stream
        given["bytes"] = len(body or b"")
    if request_id := request.headers.get("x-request-id"):
        given["request_id"] = request_id[:LONGEST_ID]
    return given
