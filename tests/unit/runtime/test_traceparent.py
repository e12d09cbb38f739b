"""What is started belongs to a trace: the caller's own, or else a new one."""

import re
import sys
from unittest import mock

from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    use_span,
)

from saga.runtime.traceparent import current_traceparent, new_traceparent

VALID = r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-01"


def test_a_new_trace_is_a_new_one_each_time():
    first, second = new_traceparent(), new_traceparent()
    assert first != second
    assert re.fullmatch(VALID, first)


def test_the_callers_span_is_gone_on_with():
    span = SpanContext(17, 18, is_remote=False, trace_flags=TraceFlags(0))
    with use_span(NonRecordingSpan(span)):
        assert current_traceparent() == f"00-{17:032x}-{18:016x}-00"


def test_without_a_span_a_trace_is_begun():
    assert re.fullmatch(VALID, current_traceparent())
    with mock.patch.dict(sys.modules):
        sys.modules.pop("opentelemetry.trace")
        assert re.fullmatch(VALID, current_traceparent())
