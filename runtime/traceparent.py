"""A `traceparent`: the trace that a message belongs to, as W3C Trace Context has it."""

import re
import secrets
import sys
from typing import NamedTuple

# Section 3.2.2. A later version may append fields, which are not passed on.
_TRACEPARENT = re.compile(
    r"(?:00|(?!00|ff)(?P<later>[0-9a-f]{2}))-(?P<trace_id>(?!0{32})[0-9a-f]{32})"
    r"-(?P<span_id>(?!0{16})[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?(later)(?:-.*)?)"
)


class Traceparent(NamedTuple):
    """A span and its trace, in hexadecimal digits."""

    trace_id: str
    span_id: str
    flags: str

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


def read_traceparent(text: str | None) -> Traceparent | None:
    """Read a `traceparent`; None where it is none."""
    found = _TRACEPARENT.fullmatch(text) if text else None
    return found and Traceparent(found["trace_id"], found["span_id"], found["flags"])


def new_traceparent() -> str:
    """Return the `traceparent` of a new trace."""
    drawn = secrets.token_hex(24)  # at once: each time asks the kernel
    return f"00-{drawn[:32]}-{drawn[32:]}-01"


def current_traceparent() -> str:
    """Return that of the caller's OpenTelemetry span, or else of a new trace."""
    tracing = sys.modules.get("opentelemetry.trace")  # where nobody has imported it, there is none
    span = tracing.get_current_span().get_span_context() if tracing else None
    if span is None or not span.is_valid:
        return new_traceparent()
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"
