"""Answers that are streams of server-sent events, and where a client wants one to begin."""

import logging
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing

from pydantic import BaseModel, ConfigDict
from sanic import HTTPResponse, Request

from .. import saga_changes
from ..database.connection import UNAVAILABLE as DATABASE_UNAVAILABLE
from ..saga_changes import Place
from .paging import query
from .problems import Busy, Invalid

log = logging.getLogger(__name__)

MEDIA_TYPE = "text/event-stream"
LAST_EVENT_ID = "Last-Event-ID"
HEADERS = {"Cache-Control": "no-store"}

_INDEX = re.compile(r"[0-9]{1,9}")


class Following(BaseModel):
    """Where a stream begins: behind which event."""

    model_config = ConfigDict(extra="forbid")

    last_event_id: str | None = None


async def stream(request: Request, texts: AsyncGenerator[str, None]) -> HTTPResponse | None:
    """Answer with a stream of texts; with 204 where there is none, so that no client comes again.

    What goes wrong before the first one is answered as usual.
    """
    async with aclosing(texts):
        first = await anext(texts, None)
        if first is None:
            return HTTPResponse(status=204)
        if request.method == "HEAD":
            return HTTPResponse(headers=HEADERS, content_type=MEDIA_TYPE)
        response = await request.respond(headers=HEADERS, content_type=MEDIA_TYPE)
        try:
            await response.send(first)
            async for text in texts:
                await response.send(text)
        except (*DATABASE_UNAVAILABLE, Busy) as error:
            log.warning("a stream of sagas is ended: %s", error)
    return None


def last_event_id(request: Request) -> str | None:
    """Return the id of the last event that a client has seen, if it says so.

    A browser says it in a header, and only when it comes again: then what its URL says is old.
    """
    asked = query(request, Following)
    given: list[str] = request.headers.getall(LAST_EVENT_ID, [])
    if len(given) > 1:
        raise Invalid({LAST_EVENT_ID: "must be given once"})
    return given[0] if given else asked.last_event_id


def read_place(text: str | None) -> Place | None:
    """Read the id of an event in a stream of all sagas; raise `Invalid`."""
    place = saga_changes.parse(text) if text is not None else None
    if text is not None and place is None:
        raise Invalid({LAST_EVENT_ID: "is not the id of an event"})
    return place


def read_index(text: str | None) -> int:
    """Read the id of an event in a stream of one saga; raise `Invalid`."""
    if text is not None and not _INDEX.fullmatch(text):
        raise Invalid({LAST_EVENT_ID: "is not the id of an event"})
    return -1 if text is None else int(text)
