"""A `traceparent`: the trace that a message belongs to, as W3C Trace Context has it."""

import secrets
import sys


def new_traceparent() -> str:
    """Return the `traceparent` of a new trace."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


def current_traceparent() -> str:
    """Return that of the caller's OpenTelemetry span, or else of a new trace."""
    tracing = sys.modules.get("opentelemetry.trace")  # where nobody has imported it, there is none
    span = tracing.get_current_span().get_span_context() if tracing else None
    if span is None or not span.is_valid:
        return new_traceparent()
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"
