"""Dead letters: records that can't be read, kept with the reason on `TOPIC.dlq`.

What became of a dead letter is a record behind it in its partition, a mark: so the topic alone
tells which dead letters are open. A dead letter's id is `TOPIC/PARTITION/OFFSET` of its place on
`TOPIC.dlq`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, NamedTuple

from .envelope import Header, Headers, Record
from .saga_state import SagaState

SUFFIX = ".dlq"
OWN_HEADERS = "dlq_"
REPLAYS = "replays"  # how often a record was replayed; it travels with it

COUNT = "dlq_headers"  # the last header: how many of those before are the record's own

REASON_LIMIT = 500  # characters
# Bytes of a record that its letter holds. Brokers count what is compressed: what came in as 3 KB
# may be too long to be sent on.
VALUE_LIMIT = 1_500_000
HEADERS_LIMIT = 200_000
KEY_LIMIT = 100_000
ID_LIMIT = 255  # characters

GONE = "it is not on the broker any more"  # what is said of a letter that was open

Mark = Literal["replayed", "dropped"]


def to_dead_letter(record: Record, function: str, reason: str, now: datetime) -> Record:
    """Make the dead letter of a record: its bytes and headers, cut to fit, and why it is here."""
    kept = _fitting(record.headers)
    cut = {
        "key": (len(record.key or b""), KEY_LIMIT),
        "headers": (sum(map(_size, record.headers)), sum(map(_size, kept))),
        "value": (len(record.value or b""), VALUE_LIMIT),
    }
    truncated = ", ".join(f"{part} {size}" for part, (size, fits) in cut.items() if size > fits)
    return Record(
        topic=record.topic + SUFFIX,
        key=record.key and record.key[:KEY_LIMIT],
        value=record.value and record.value[:VALUE_LIMIT],
        headers=[
            *kept,
            ("dlq_reason", reason[:REASON_LIMIT].encode(errors="replace")),
            ("dlq_function", function.encode()),
            ("dlq_topic", record.topic.encode()),
            ("dlq_partition", b"%d" % record.partition),
            ("dlq_offset", b"%d" % record.offset),
            ("dlq_time", now.isoformat().encode()),
            *([("dlq_truncated", truncated.encode())] if truncated else []),
            (COUNT, b"%d" % len(kept)),
        ],
    )


def to_unsent_letter(record: Record, function: str, reason: str, now: datetime) -> Record:
    """Make the dead letter of a record that no broker will ever take."""
    return to_dead_letter(record, function, f"not sent: {reason}", now)


class Origin(NamedTuple):
    """A partition of dead letters: made anew, or without its first records, it is another one."""

    topic: str
    partition: int
    topic_id: str = ""
    first: int = 0


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An open dead letter: the record as it was, and what is known of its failure.

    `truncated` has the sizes, in bytes, of those parts of the record that were cut.
    """

    id: str
    record: Record
    reason: str
    function: str
    time: str
    replays: int
    truncated: str = ""

    @property
    def saga_id(self) -> str | None:
        """The saga's id, as the message id or else the key has it; None where neither is text.

        What has a NUL is none that a database could be asked for.
        """
        headers = dict(self.record.headers)
        for text in (headers.get("ce_id"), self.record.key):
            try:
                if text and b"\0" not in text:
                    return text.decode().partition("/")[0]
            except UnicodeDecodeError:
                continue
        return None


def open_dead_letters(records: Iterable[Record]) -> list[DeadLetter]:
    """Return the dead letters among a topic's records that no mark has closed, oldest first."""
    return read_letters(records)[0]


def read_letters(records: Iterable[Record]) -> tuple[list[DeadLetter], set[str]]:
    """Return the dead letters among records that are left open, and the ids of all closed ones."""
    found: dict[str, DeadLetter] = {}
    closed = set()
    for record in records:
        own, others = _parted(record.headers)
        if own.get("dlq_mark"):
            closed.add(own.get("dlq_letter", ""))
        elif own.get("dlq_topic"):
            dead_letter = _from_record(record, own, others)
            found[dead_letter.id] = dead_letter
    # Version 0.1 put a mark where its key led: where partitions were added, that may be read first.
    return [letter for letter_id, letter in found.items() if letter_id not in closed], closed


def outline(letter: DeadLetter) -> DeadLetter:
    """Return a dead letter with nothing of its record but the topic, and the saga's id as the key.

    An id that is too long for any saga is cut.
    """
    key = (letter.saga_id or "")[:ID_LIMIT].encode() or None
    return replace(letter, record=Record(letter.record.topic, key, None, []))


def passing(
    dead_letters: Iterable[DeadLetter],
    topic: str | None = None,
    saga: str | None = None,
    reason: str | None = None,
) -> list[DeadLetter]:
    """Return those of a topic, of a saga, and with this text in their reason."""
    return [
        dead_letter
        for dead_letter in dead_letters
        if topic in (None, dead_letter.record.topic)
        and saga in (None, dead_letter.saga_id)
        and (reason is None or reason in dead_letter.reason)
    ]


def refusal(dead_letter: DeadLetter, state: SagaState | None) -> str | None:
    """Say why a dead letter can't be replayed, whose saga is so; None where it can."""
    if state is not None and state.ended and state.status != "UNREADABLE":
        return "its saga has ended, there is nothing to replay for"
    if dead_letter.truncated:
        return f"its record was cut to fit, of bytes: {dead_letter.truncated}"
    return None


def replay(dead_letter: DeadLetter) -> Record:
    """Make the record that a replay sends to the topic it came from: as it was, with a count."""
    others = [(name, value) for name, value in dead_letter.record.headers if name != REPLAYS]
    replays = b"%d" % (dead_letter.replays + 1)
    return dead_letter.record._replace(headers=[*others, (REPLAYS, replays)])


def mark(dead_letter: DeadLetter, what: Mark, now: datetime) -> Record:
    """Make the record that closes a dead letter."""
    headers = [
        ("dlq_mark", what.encode()),
        ("dlq_letter", dead_letter.id.encode()),
        ("dlq_time", now.isoformat().encode()),
    ]
    topic, partition, _ = place(dead_letter.id)
    return Record(topic, dead_letter.record.key, None, headers, partition)


def place(letter_id: str) -> tuple[str, int, int]:
    """Return the topic, the partition and the offset at which a dead letter is."""
    topic, partition, offset = letter_id.rsplit("/", 2)
    return topic + SUFFIX, int(partition), int(offset)


def _size(header: Header) -> int:
    name, value = header
    return len(name.encode()) + len(value or b"")


def _fitting(headers: Headers) -> list[Header]:
    """Return the headers without those for which there is no room."""
    kept, room = [], HEADERS_LIMIT
    for header in headers:
        if _size(header) <= room:
            room -= _size(header)
            kept.append(header)
    return kept


def _parted(headers: Headers) -> tuple[dict[str, str], list[Header]]:
    """Tell a letter's own headers, as text, from those of its record, whatever these are called."""
    last, count = headers[-1] if headers else ("", b"")
    if last == COUNT:
        number = _number((count or b"").decode(errors="replace"))
        own, others = headers[number:], headers[:number]
    else:  # a mark, or a letter as version 0.1 has written it
        own = [header for header in headers if header[0].startswith(OWN_HEADERS)]
        others = [header for header in headers if header not in own]
    return {name: value.decode(errors="replace") for name, value in own if value}, list(others)


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 10 else 0


def _from_record(record: Record, own: dict[str, str], others: list[Header]) -> DeadLetter:
    replays = dict(others).get(REPLAYS) or b""
    return DeadLetter(
        id=f"{record.topic.removesuffix(SUFFIX)}/{record.partition}/{record.offset}",
        record=Record(own["dlq_topic"], record.key, record.value, others),
        reason=own.get("dlq_reason", ""),
        function=own.get("dlq_function", ""),
        time=own.get("dlq_time", ""),
        replays=_number(replays.decode(errors="replace")),
        truncated=own.get("dlq_truncated", ""),
    )
