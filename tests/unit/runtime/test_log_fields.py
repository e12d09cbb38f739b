"""What is known where a line is logged: in the context of a call, and nowhere else."""

from saga.runtime.envelope import Envelope, Record
from saga.runtime.log_fields import (
    Known,
    fields_of,
    fields_of_record,
    know,
    known_fields,
    trace_fields,
)

TRACE = f"00-{'a' * 32}-{'b' * 16}-01"


def test_a_command_has_its_saga_attempt_and_trace():
    command = Envelope("t", "s/step/do", "C", "/", "", "{}", attempt=2, traceparent=TRACE)
    assert fields_of(command) == {
        "saga_id": "s",
        "command_id": "s/step/do",
        "attempt": 2,
        "trace_id": "a" * 32,
        "span_id": "b" * 16,
    }


def test_what_is_no_trace_has_no_ids():
    for text in (None, "", "00-a-b-01", "0" * 55, TRACE + "-x"):
        assert trace_fields(text) == {}


def test_fields_are_known_inside_of_a_context_those_of_the_outer_one_too():
    know({"attempt": 9})
    assert known_fields() == {"attempt": 9}
    know({})
    with Known(lambda: {"saga_id": "s", "attempt": 1}):
        with Known(lambda: {"attempt": 2}):
            assert known_fields() == {"saga_id": "s", "attempt": 2}
        assert known_fields() == {"saga_id": "s", "attempt": 1}
    assert known_fields() == {}


def test_a_record_that_is_no_message_may_tell_of_a_saga_by_its_key():
    assert fields_of_record(Record("t", b"s", None, [])) == {"saga_id": "s"}
    assert fields_of_record(Record("t", b"\xff" * 1000, None, [])) == {"saga_id": "\ufffd" * 100}
    assert fields_of_record(Record("t", None, None, [])) == {}
