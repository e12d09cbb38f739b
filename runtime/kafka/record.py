"""What a consumer gets, as a `Record`."""

from operator import methodcaller
from typing import Any

from ..envelope import Record

# The interpreter's own call of a method in C, once it has been made some times, overlooks an error
# that comes with a result: the next call of anything would raise it.
_headers = methodcaller("headers")


def to_record(message: Any, prefix: str = "") -> Record:
    """Read what a consumer has got as a record; its topic's name is without the prefix."""
    headers: Any = []
    fault = ""
    try:
        headers = _headers(message) or []
    except Exception:
        # For C, Go and Rust a name is bytes. The Python client fails here, and leaves a list with a
        # hole in it for whoever asks again: nobody may.
        fault = "the name of a header is not UTF-8"
    return Record(
        message.topic().removeprefix(prefix),
        message.key(),
        message.value(),
        headers,
        message.partition(),
        message.offset(),
        fault,
    )
