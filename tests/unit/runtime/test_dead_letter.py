"""Dead letters as records, and what the topic tells of them."""

from datetime import UTC, datetime

from saga.runtime.dead_letter import mark, open_dead_letters, replay, to_dead_letter
from saga.runtime.envelope import Record

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


def test_dead_letter_knows_its_saga_its_reason_and_its_place() -> None:
    dead_letter = dead_letter_of()
    assert (dead_letter.id, dead_letter.saga_id, dead_letter.reason) == (
        "pay/0/0",
        "s1",
        "no sense",
    )
    assert (dead_letter.function, dead_letter.replays) == ("user.pay", 0)


def test_saga_is_read_from_the_key_where_the_id_is_no_text() -> None:
    assert dead_letter_of(BAD._replace(headers=[("ce_id", b"\xff")])).saga_id == "s1"
    assert dead_letter_of(BAD._replace(headers=[], key=b"\xff")).saga_id is None


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


def test_foreign_records_on_the_topic_are_passed_over() -> None:
    assert open_dead_letters(on_topic(Record("pay.dlq", None, b"hello", []))) == []


def test_overlong_record_is_cut_so_that_its_topic_takes_it() -> None:
    dead_letter = to_dead_letter(BAD._replace(value=b"x" * 3_000_000), "user.pay", "r" * 9_000, NOW)
    headers = dict(dead_letter.headers)
    assert (len(dead_letter.value or b""), headers["dlq_truncated"]) == (1_500_000, b"3000000")
    assert len(headers["dlq_reason"]) == 500
