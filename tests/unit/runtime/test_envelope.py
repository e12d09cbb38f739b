"""Messages as CloudEvents: what is written can be read, what can't be read says why."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saga.runtime import Command, Event
from saga.runtime.envelope import (
    ID_LIMIT,
    OUTCOMES,
    TRACE_LIMIT,
    Envelope,
    Record,
    decode,
    message_id,
    read_command_id,
    read_reply,
    reply_id,
)
from saga.runtime.errors import Undecodable
from saga.runtime.stamps import Stamps

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
PART = st.text(
    st.characters(exclude_categories=["C", "Z"], exclude_characters="/"), min_size=1, max_size=80
)
STAMPS = st.builds(Stamps, *[st.integers(-(10**15), 10**16)] * 5)
HEADERS = [("ce_id", b"s/step/do"), ("ce_source", b"/saga"), ("ce_type", b"Ask")]


class Told(Event, topic="unit.told"):
    text: str


class AskNicely(Command, topic="unit.ask", event=Told):
    text: str


def envelope(**changes):
    defaults = {
        "topic": "unit.ask",
        "id": "s/step/do",
        "type": "Ask",
        "source": "/saga",
        "time": "2026-01-01T00:00:00+00:00",
        "data": "{}",
    }
    return Envelope(**{**defaults, **changes})


def without(name):
    return [(key, value) for key, value in HEADERS if key != name]


@given(
    st.builds(
        Envelope,
        topic=TEXT,
        id=TEXT,
        type=TEXT,
        source=TEXT,
        time=TEXT,
        data=st.text(st.characters(exclude_categories=["Cs"])),
        outcome=st.sampled_from([None, *OUTCOMES]),
        attempt=st.integers(0, 10**9),
        traceparent=st.none() | TEXT,
        place=st.just(""),
        stamps=st.none() | STAMPS,
    )
)
def test_what_is_encoded_is_decoded(sent):
    assert decode(sent.record()) == sent


@given(PART, PART, st.sampled_from(["do", "undo"]))
def test_command_id_is_read_back(saga_id, step, action):
    assert read_command_id(message_id(saga_id, step, action)) == (saga_id, step, action)


@given(PART, PART, st.sampled_from(["do", "undo"]), st.sampled_from(OUTCOMES))
def test_reply_is_read_back(saga_id, step, action, outcome):
    sent = envelope(
        id=reply_id(message_id(saga_id, step, action)), outcome=outcome, attempt=4, data="{}"
    )
    reply = read_reply(decode(sent.record()))
    assert (reply.saga_id, reply.step, reply.action) == (saga_id, step, action)
    assert (reply.outcome, reply.attempt, reply.data) == (outcome, 4, "{}")


def test_reply_tells_the_place_of_its_record():
    sent = envelope(id="s/step/do/reply", outcome="done").record()
    assert read_reply(decode(sent)).place == ""
    stored = sent._replace(topic="t", partition=0, offset=0)
    assert read_reply(decode(stored)).place == stored.place == "t[0]@0"


def test_record_is_a_cloud_event_in_binary_mode():
    record = envelope(data='{"text": "Zoë"}', attempt=2, traceparent="00-a-b-01").record()
    assert record.value == '{"text": "Zoë"}'.encode()
    assert dict(record.headers) == {
        "ce_specversion": b"1.0",
        "ce_id": b"s/step/do",
        "ce_source": b"/saga",
        "ce_type": b"Ask",
        "ce_time": b"2026-01-01T00:00:00+00:00",
        "ce_attempt": b"2",
        "content-type": b"application/json",
        "traceparent": b"00-a-b-01",
    }


def test_key_is_the_sagas_id():
    assert envelope(id="saga-7/step/undo/reply").record().key == b"saga-7"


def test_ids_are_derived():
    assert message_id("s", "pay", "undo") == "s/pay/undo"
    assert reply_id("s/pay/undo") == "s/pay/undo/reply"


@pytest.mark.parametrize("missing", ["ce_id", "ce_source", "ce_type"])
def test_missing_header_is_named(missing):
    with pytest.raises(Undecodable, match=f"header missing: {missing}"):
        decode(Record("unit.ask", None, b"{}", without(missing)))


@pytest.mark.parametrize("name", ["ce_id", "ce_source", "ce_type"])
def test_empty_header_is_a_missing_one(name):
    with pytest.raises(Undecodable, match=f"header missing: {name}"):
        decode(Record("unit.ask", None, b"{}", [*without(name), (name, b"")]))


@pytest.mark.parametrize("headers", [[], None])
def test_record_without_headers_is_undecodable(headers):
    with pytest.raises(Undecodable, match=r"^header missing: ce_id, ce_source, ce_type$"):
        decode(Record("unit.ask", b"s", b"{}", headers))


MALFORMED = r"^headers or body are not what CloudEvents says: .+"
NO_OUTCOME = r"^ce_outcome is '{}', not one of done, rejected, failed$"


@pytest.mark.parametrize(
    ("value", "extra", "why"),
    [
        (b"\xff", [], MALFORMED),
        (b"{}", [("ce_time", b"\xff")], MALFORMED),
        (b"{}", [("ce_attempt", b"often")], MALFORMED),
        (b"{}", [("ce_attempt", b"")], MALFORMED),
        (b"{}", [("ce_attempt", b"9" * 5000)], MALFORMED),
        (b"{}", [("ce_outcome", b"maybe")], NO_OUTCOME.format("maybe")),
        (b"{}", [("ce_outcome", b"")], NO_OUTCOME.format("")),
    ],
)
def test_malformed_part_makes_a_record_undecodable(value, extra, why):
    with pytest.raises(Undecodable, match=why):
        decode(Record("unit.ask", None, value, [*HEADERS, *extra]))


def test_foreign_header_may_hold_any_bytes():
    record = Record("unit.ask", None, b"{}", [*HEADERS, ("x-trace", b"\xff\x00")])
    assert decode(record).id == "s/step/do"


@pytest.mark.parametrize("name", ["x-empty", "ce_time"])
def test_header_without_a_value_is_passed_over(name):
    record = Record("unit.ask", None, b"{}", [*HEADERS, (name, None)])
    assert (decode(record).id, decode(record).time) == ("s/step/do", "")


def test_attempt_and_time_may_be_missing():
    read = decode(Record("unit.ask", None, None, HEADERS))
    assert (read.attempt, read.time, read.data, read.outcome) == (1, "", "", None)


@given(st.binary(), st.lists(st.tuples(st.sampled_from([n for n, _ in HEADERS]), st.binary())))
def test_decode_reads_or_says_undecodable(value, headers):
    try:
        read = decode(Record("unit.ask", None, value, headers))
    except Undecodable:
        return
    assert read.data.encode() == value


@pytest.mark.parametrize(
    "identifier", ["", "s", "s/step", "s/step/redo", "s/step/do/reply", "//do", "s//do", "/x/undo"]
)
def test_other_id_is_no_commands_id(identifier):
    with pytest.raises(Undecodable, match="SAGA_ID/STEP/do"):
        read_command_id(identifier)


@pytest.mark.parametrize(("length", "fits"), [(ID_LIMIT, True), (ID_LIMIT + 1, False)])
def test_id_is_read_up_to_its_limit(length, fits):
    saga_id = "s" * (length - len("/step/do"))
    if fits:
        assert read_command_id(f"{saga_id}/step/do") == (saga_id, "step", "do")
        return
    with pytest.raises(Undecodable) as raised:
        read_command_id(f"{saga_id}/step/do")
    told = f"message id '{'s' * 50}'… is over {ID_LIMIT} characters or odd"
    assert str(raised.value) == told


def test_id_that_nobody_can_print_is_no_commands_id():
    with pytest.raises(Undecodable, match="or odd"):
        read_command_id("s\n/step/do")


@pytest.mark.parametrize(("length", "kept"), [(TRACE_LIMIT, True), (TRACE_LIMIT + 1, False)])
def test_traceparent_is_passed_on_up_to_its_limit(length, kept):
    trace = "0" * length
    assert decode(envelope(traceparent=trace).record()).traceparent == (trace if kept else None)


def test_record_that_can_not_be_taken_apart_says_why():
    with pytest.raises(Undecodable, match=r"^its headers are not text$"):
        decode(Record("unit.ask", None, b"{}", HEADERS, fault="its headers are not text"))


@pytest.mark.parametrize(
    ("identifier", "outcome", "why"),
    [
        ("s/step/do", "done", r"^message 's/step/do' is not a reply$"),
        ("s/step/do/reply", None, r"^message 's/step/do/reply' is not a reply$"),
        ("reply", "done", "not of the form SAGA_ID/STEP"),
        ("s/step/redo/reply", "done", "not of the form SAGA_ID/STEP"),
        ("s/step/do/reply/reply", "done", "not of the form SAGA_ID/STEP"),
    ],
)
def test_what_is_no_reply_is_undecodable(identifier, outcome, why):
    with pytest.raises(Undecodable, match=why):
        read_reply(envelope(id=identifier, outcome=outcome))
