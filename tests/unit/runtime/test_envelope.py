"""Messages as CloudEvents: what is written can be read, what can't be read says why."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saga.runtime import Command, Event
from saga.runtime.envelope import (
    OUTCOMES,
    Envelope,
    Record,
    decode,
    message_id,
    read_command_id,
    read_reply,
    reply_id,
)
from saga.runtime.errors import Undecodable

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
PART = st.text(
    st.characters(exclude_categories=["C", "Z"], exclude_characters="/"), min_size=1, max_size=80
)
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
    assert envelope(id="s/step/undo/reply").record().key == b"s"


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
    with pytest.raises(Undecodable, match="ce_id, ce_source, ce_type"):
        decode(Record("unit.ask", b"s", b"{}", headers))


@pytest.mark.parametrize(
    ("value", "extra"),
    [
        (b"\xff", []),
        (b"{}", [("ce_time", b"\xff")]),
        (b"{}", [("ce_attempt", b"often")]),
        (b"{}", [("ce_attempt", b"")]),
        (b"{}", [("ce_attempt", b"9" * 5000)]),
        (b"{}", [("ce_outcome", b"maybe")]),
        (b"{}", [("ce_outcome", b"")]),
    ],
)
def test_malformed_part_makes_a_record_undecodable(value, extra):
    with pytest.raises(Undecodable):
        decode(Record("unit.ask", None, value, [*HEADERS, *extra]))


def test_foreign_header_may_hold_any_bytes():
    record = Record("unit.ask", None, b"{}", [*HEADERS, ("x-trace", b"\xff\x00")])
    assert decode(record).id == "s/step/do"


def test_header_without_a_value_is_passed_over():
    record = Record("unit.ask", None, b"{}", [*HEADERS, ("x-empty", None)])
    assert decode(record).id == "s/step/do"


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


@pytest.mark.parametrize(
    ("identifier", "outcome"),
    [
        ("s/step/do", "done"),
        ("s/step/do/reply", None),
        ("s/step/redo/reply", "done"),
        ("reply", "done"),
        ("s/step/do/reply/reply", "done"),
    ],
)
def test_what_is_no_reply_is_undecodable(identifier, outcome):
    with pytest.raises(Undecodable):
        read_reply(envelope(id=identifier, outcome=outcome))
