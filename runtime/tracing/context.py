"""A `traceparent`, as W3C Trace Context has it, and OpenTelemetry's context of the same span."""

from opentelemetry.context import Context
from opentelemetry.trace import (
    INVALID_SPAN_CONTEXT,
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    format_span_id,
    format_trace_id,
    set_span_in_context,
)

from ..traceparent import read_traceparent

NO_CONTEXT = Context()
LENGTH = 55  # of a `traceparent` of this version
NOT_SAMPLED = frozenset("02468ace")  # its last digit, where the lowest flag is not set


def is_dropped(traceparent: str | None) -> bool:
    """Tell whether a message says that its trace is not kept; one of a later version never does."""
    return traceparent is not None and len(traceparent) == LENGTH and traceparent[-1] in NOT_SAMPLED


class Dropped(NonRecordingSpan):
    """A span that is not kept: who asks for its context gets it, and hardly anybody does."""

    def __init__(self, traceparent: str) -> None:
        self._traceparent = traceparent

    def get_span_context(self) -> SpanContext:
        """Read which span it is."""
        return read(self._traceparent) or INVALID_SPAN_CONTEXT

    def __repr__(self) -> str:
        return f"Dropped({self._traceparent!r})"


def read(traceparent: str | None) -> SpanContext | None:
    """Return which span a `traceparent` names; None where it is none."""
    found = read_traceparent(traceparent)
    if found is None:
        return None
    trace_id, span_id, flags = (int(part, 16) for part in found)
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags & 1))


def below(parent: SpanContext | None) -> Context:
    """Return the context of a span's children; without one, they begin a trace each."""
    return (
        NO_CONTEXT if parent is None else set_span_in_context(NonRecordingSpan(parent), Context())
    )


def write(context: SpanContext) -> str:
    """Return a span's `traceparent`."""
    trace_id, span_id = format_trace_id(context.trace_id), format_span_id(context.span_id)
    return f"00-{trace_id}-{span_id}-{context.trace_flags:02x}"
