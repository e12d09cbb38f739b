"""What is started belongs to a trace: the caller's own, or else a new one."""

import re
import sys
from unittest import mock

import pytest
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    use_span,
)

from saga.runtime.traceparent import (
    Traceparent,
    current_traceparent,
    new_traceparent,
    read_traceparent,
)

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


TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize("version", ["00", "01", "cc", "fe"])
def test_a_traceparent_is_read_and_written_in_version_00(version):
    found = read_traceparent(f"{version}-{TRACE}-{SPAN}-03")
    assert found == Traceparent(TRACE, SPAN, "03")
    assert str(found) == f"00-{TRACE}-{SPAN}-03"


@pytest.mark.parametrize("more", ["-", "-more", "-a-b"])
def test_a_later_version_may_have_more(more):
    assert read_traceparent(f"01-{TRACE}-{SPAN}-01{more}") == Traceparent(TRACE, SPAN, "01")


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"01-{TRACE}-{SPAN}-01more",
        f"00-{TRACE}-{SPAN}-01-",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00-{'g' * 32}-{SPAN}-01",
    ],
)
def test_what_is_no_traceparent_is_none(text):
    assert read_traceparent(text) is None
