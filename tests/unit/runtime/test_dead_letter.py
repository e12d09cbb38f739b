"""Dead letters as records, and what the topic tells of them."""

from datetime import UTC, datetime

import pytest

from saga.runtime.dead_letter import (
    DeadLetter,
    mark,
    open_dead_letters,
    read_letters,
    replay,
    to_dead_letter,
    to_unsent_letter,
)
from saga.runtime.envelope import Record
from saga.runtime.kafka.application import RECORD_LIMIT

NOW = datetime(2026, 1, 2, tzinfo=UTC)
BAD = Record("pay", b"s1", b"\xff\x00", [("ce_id", b"s1/pay/do"), ("mine", b"\x00\x01")], 2, 41)


def on_topic(*records: Record) -> list[Record]:
    """Place records on their topics as a broker does."""
    return [record._replace(partition=0, offset=n) for n, record in enumerate(records)]


def dead_letter_of(record: Record = BAD):
    [dead_letter] = open_dead_letters(on_topic(to_dead_letter(record, "user.pay", "no sense", NOW)))
    return dead_letter


def test_bytes_and_headers_survive() -> None:
    record = to_dead_letter(BAD, "user.pay", "no sense", NOW)
    assert (record.topic, record.key, record.value) == ("pay.dlq", b"s1", b"\xff\x00")
    assert list(record.headers[:2]) == list(BAD.headers)
    added = dict(record.headers)
    assert (added["dlq_topic"], added["dlq_partition"], added["dlq_offset"]) == (
        b"pay",
        b"2",
        b"41",
    )


def test_letter_tells_what_is_known_of_the_failure_behind_the_records_own_headers() -> None:
    record = to_dead_letter(BAD, "user.pay", "no sense: \udcff", NOW)
    assert record.headers == [
        *BAD.headers,
        ("dlq_reason", b"no sense: ?"),
        ("dlq_function", b"user.pay"),
        ("dlq_topic", b"pay"),
        ("dlq_partition", b"2"),
        ("dlq_offset", b"41"),
        ("dlq_time", b"2026-01-02T00:00:00+00:00"),
        ("dlq_headers", b"2"),
    ]


def test_letter_of_what_was_never_sent_says_so() -> None:
    letter = to_unsent_letter(BAD, "user.pay", "no sense", NOW)
    assert letter == to_dead_letter(BAD, "user.pay", "not sent: no sense", NOW)


def test_record_without_a_key_or_a_value_has_a_letter() -> None:
    record = to_dead_letter(BAD._replace(key=None, value=None), "user.pay", "no sense", NOW)
    assert (record.key, record.value) == (None, None)
    [dead_letter] = open_dead_letters(on_topic(record))
    assert (dead_letter.record.key, dead_letter.record.value) == (None, None)


def test_dead_letter_knows_its_saga_its_reason_and_its_place() -> None:
    dead_letter = dead_letter_of()
    assert (dead_letter.id, dead_letter.saga_id, dead_letter.reason) == (
        "pay/0/0",
        "s1",
        "no sense",
    )
    assert (dead_letter.function, dead_letter.replays) == ("user.pay", 0)
    assert (dead_letter.time, dead_letter.truncated) == (NOW.isoformat(), "")


def test_letter_that_tells_its_topic_alone_is_one() -> None:
    letter = Record("pay.dlq", None, b"hello", [("dlq_topic", b"pay")])
    [dead_letter] = open_dead_letters(on_topic(letter))
    record = Record("pay", None, b"hello", [])
    assert dead_letter == DeadLetter("pay/0/0", record, reason="", function="", time="", replays=0)


def test_saga_is_read_from_the_key_where_the_id_is_no_text() -> None:
    assert dead_letter_of(BAD._replace(headers=[("ce_id", b"\xff")])).saga_id == "s1"
    assert dead_letter_of(BAD._replace(headers=[], key=b"\xff")).saga_id is None
    assert dead_letter_of(BAD._replace(headers=[], key=b"a\0b")).saga_id is None


def test_replay_sends_the_record_as_it_was_and_counts() -> None:
    again = replay(dead_letter_of())
    assert (again.topic, again.key, again.value) == (BAD.topic, BAD.key, BAD.value)
    assert list(again.headers) == [*BAD.headers, ("replays", b"1")]


def test_replays_add_up_when_a_dead_letter_comes_back() -> None:
    back = dead_letter_of(replay(dead_letter_of()))
    assert back.replays == 1
    assert dict(replay(back).headers)["replays"] == b"2"


def test_mark_closes_its_dead_letter_and_no_other() -> None:
    records = [to_dead_letter(BAD, "user.pay", f"reason {n}", NOW) for n in range(3)]
    second = open_dead_letters(on_topic(*records))[1]
    for what in ("replayed", "dropped"):
        left = open_dead_letters(on_topic(*records, mark(second, what, NOW)))
        assert [dead_letter.reason for dead_letter in left] == ["reason 0", "reason 2"]


def test_mark_names_the_letter_what_became_of_it_and_when() -> None:
    headers = [
        ("dlq_mark", b"dropped"),
        ("dlq_letter", b"pay/0/0"),
        ("dlq_time", b"2026-01-02T00:00:00+00:00"),
    ]
    assert mark(dead_letter_of(), "dropped", NOW) == Record("pay.dlq", b"s1", None, headers, 0)


def test_letters_of_some_records_are_told_with_those_that_are_closed() -> None:
    records = on_topic(*[to_dead_letter(BAD, "user.pay", f"reason {n}", NOW) for n in range(3)])
    letters = open_dead_letters(records)
    marks = [mark(letter, "dropped", NOW) for letter in letters[:2]]
    found, closed = read_letters([*records[1:], *marks])
    assert [letter.reason for letter in found] == ["reason 2"]
    assert closed == {letters[0].id, letters[1].id}


def test_letter_is_closed_by_a_mark_that_is_read_before_it() -> None:
    [record] = on_topic(to_dead_letter(BAD, "user.pay", "no sense", NOW))
    [letter] = open_dead_letters([record])
    assert open_dead_letters([mark(letter, "dropped", NOW), record]) == []


def test_foreign_records_on_the_topic_are_passed_over() -> None:
    assert open_dead_letters(on_topic(Record("pay.dlq", None, b"hello", []))) == []


def test_overlong_record_is_cut_so_that_its_topic_takes_it() -> None:
    record = to_dead_letter(BAD._replace(value=b"x" * 3_000_000), "user.pay", "r" * 9_000, NOW)
    headers = dict(record.headers)
    assert (len(record.value or b""), headers["dlq_truncated"]) == (1_500_000, b"value 3000000")
    assert len(headers["dlq_reason"]) == 500
    assert dead_letter_of(BAD._replace(value=b"x" * 3_000_000)).truncated == "value 3000000"


def test_letter_fits_whatever_of_its_record_is_too_long() -> None:
    zeros = b"\0" * 3_000_000
    headers = [("x", zeros), ("ce_id", b"s1/pay/do"), ("y" * 9, zeros), ("z", b"")]
    record = to_dead_letter(BAD._replace(key=zeros, value=zeros, headers=headers), "f", "r", NOW)
    whole = len(record.key or b"") + len(record.value or b"")
    whole += sum(len(name) + len(value) for name, value in record.headers)
    assert whole < RECORD_LIMIT - 1_000  # what else is in a record
    [dead_letter] = open_dead_letters(on_topic(record))
    assert dead_letter.saga_id == "s1"
    assert dead_letter.truncated == "key 3000000, headers 6000025, value 3000000"
    assert dead_letter.record.headers == [("ce_id", b"s1/pay/do"), ("z", b"")]


def test_many_headers_are_kept_as_long_as_there_is_room() -> None:
    headers = [("x", b"1" * 9_999)] * 21
    dead_letter = dead_letter_of(BAD._replace(headers=headers))
    assert dead_letter.record.headers == headers[:20]
    assert dead_letter.truncated == "headers 210000"


@pytest.mark.parametrize(("length", "kept"), [(100_000, 1), (100_001, 0)])
def test_name_of_a_header_counts_in_bytes(length: int, kept: int) -> None:
    dead_letter = dead_letter_of(BAD._replace(headers=[("ü" * length, b"")]))
    assert len(dead_letter.record.headers) == kept
    assert dead_letter.truncated == ("" if kept else "headers 200002")


@pytest.mark.parametrize(
    "headers",
    [
        [("dlq_mark", b"dropped")],
        [("dlq_mark", b"dropped"), ("dlq_letter", None)],
        [("dlq_topic", None), ("dlq_offset", b"\xff"), ("dlq_headers", b"7")],
        [("replays", None)],
        [("replays", "\N{SUPERSCRIPT TWO}".encode())],
        [("replays", b"9" * 5_000)],
        [("replays", b"9" * 10)],
        [("replays", b"\xff")],
        [("replays", b"many")],
    ],
)
def test_headers_of_the_record_are_its_own(headers) -> None:
    dead_letter = dead_letter_of(BAD._replace(headers=headers))
    assert (dead_letter.record.headers, dead_letter.replays) == (headers, 0)
    assert dead_letter.record.topic == "pay"


@pytest.mark.parametrize(
    "headers",
    [
        [("dlq_headers", b"0")],
        [("dlq_headers", b"\xff")],
        [("dlq_headers", None)],
        [("dlq_headers", b"-1")],
        [("dlq_topic", None)],
        [("dlq_mark", b"\xff"), ("dlq_letter", None)],
    ],
)
def test_foreign_headers_on_the_topic_of_letters_are_no_letter(headers) -> None:
    assert open_dead_letters(on_topic(Record("pay.dlq", None, b"hello", headers))) == []


def test_letter_of_version_0_1_is_read() -> None:
    letter = to_dead_letter(BAD, "user.pay", "no sense", NOW)
    [dead_letter] = open_dead_letters(on_topic(letter._replace(headers=letter.headers[:-1])))
    assert (dead_letter.record.headers, dead_letter.record.topic) == (list(BAD.headers), "pay")
