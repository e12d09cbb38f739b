"""A request as RFC 9110, 9112 and 3986 read it, where Sanic reads it otherwise."""

import re
import time
from typing import Any

import sanic
from sanic.compat import Header
from sanic.exceptions import BadRequest

BODY_LIMIT = 1024 * 1024  # bytes

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_CODED = re.compile(rb"%(2[DE]|3[0-9]|[46][1-9A-F]|[57][0-9A]|5F|7E)", re.IGNORECASE)


class Request(sanic.Request):
    """A request: its header values without blanks around them, its path without needless codes."""

    def __init__(self, url_bytes: bytes, headers: Header, *more: Any, **named: Any) -> None:
        """Raise `BadRequest` for a header's name that is none, such as one with a blank."""
        path, mark, query = url_bytes.partition(b"?")
        fields = Header([(name, _value(name, text)) for name, text in headers.items()])
        self.began = time.perf_counter()  # seconds
        super().__init__(_CODED.sub(_decoded, path) + mark + query, fields, *more, **named)

    async def receive_body(self) -> None:
        """Receive the body; raise `PayloadTooLarge` where it is over the limit.

        The limit is for this alone. When the answer is sent, Sanic reads what it left of a body, up
        to the app's own limit: a client that is cut off while it sends can't read the answer.
        """
        stream: Any = self.stream
        discarded, stream.request_max_size = stream.request_max_size, BODY_LIMIT
        try:
            await super().receive_body()  # type: ignore[no-untyped-call]
        finally:
            stream.request_max_size = discarded


def _value(name: str, text: str) -> str:
    if not _NAME.fullmatch(name):
        raise BadRequest("the name of a header is not one")
    value = text.strip(" \t")
    return value.lower() if name == "transfer-encoding" else value


def _decoded(code: re.Match[bytes]) -> bytes:
    return bytes([int(code[1], 16)])
