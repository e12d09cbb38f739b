"""Dead letters: records that can't be read, kept with the reason on `TOPIC.dlq`.

What became of a dead letter is a record on the same topic, a mark: so the topic alone tells which
dead letters are open. A dead letter's id is `TOPIC/PARTITION/OFFSET` of its place on `TOPIC.dlq`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from .envelope import Record

SUFFIX = ".dlq"
OWN_HEADERS = "dlq_"
REPLAYS = "replays"  # how often a record was replayed; it travels with it

REASON_LIMIT = 500  # characters
VALUE_LIMIT = 1_500_000  # bytes; a longer record is cut, as no topic may take it whole

Mark = Literal["replayed", "dropped"]


def to_dead_letter(record: Record, function: str, reason: str, now: datetime) -> Record:
    """Make the dead letter of a record: its bytes and headers untouched, and why it is here."""
    return Record(
        topic=record.topic + SUFFIX,
        key=record.key,
        value=record.value[:VALUE_LIMIT] if record.value else record.value,
        headers=[
            *record.headers,
            ("dlq_reason", reason[:REASON_LIMIT].encode()),
            ("dlq_function", function.encode()),
            ("dlq_topic", record.topic.encode()),
            ("dlq_partition", b"%d" % record.partition),
            ("dlq_offset", b"%d" % record.offset),
            ("dlq_time", now.isoformat().encode()),
            *_truncated(record),
        ],
    )


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An open dead letter: the record as it was, and what is known of its failure."""

    id: str
    record: Record
    reason: str
    function: str
    time: str
    replays: int

    @property
    def saga_id(self) -> str | None:
        """The saga's id, as the message id or else the key has it; None where neither is text."""
        headers = dict(self.record.headers)
        for text in (headers.get("ce_id"), self.record.key):
            try:
                if text:
                    return text.decode().partition("/")[0]
            except UnicodeDecodeError:
                continue
        return None


def open_dead_letters(records: Iterable[Record]) -> list[DeadLetter]:
    """Return the dead letters among a topic's records that no mark has closed, oldest first."""
    found: dict[str, DeadLetter] = {}
    for record in records:
        headers = dict(record.headers)
        if "dlq_mark" in headers:
            found.pop(headers.get("dlq_letter", b"").decode(), None)
        elif "dlq_topic" in headers:
            dead_letter = _from_record(record, headers)
            found[dead_letter.id] = dead_letter
    return list(found.values())


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
    return Record(dead_letter.record.topic + SUFFIX, dead_letter.record.key, None, headers)


def _truncated(record: Record) -> list[tuple[str, bytes]]:
    size = len(record.value or b"")
    return [("dlq_truncated", b"%d" % size)] if size > VALUE_LIMIT else []


def _from_record(record: Record, headers: dict[str, bytes]) -> DeadLetter:
    text = {name: value.decode(errors="replace") for name, value in headers.items() if value}
    replays = text.get(REPLAYS, "")
    return DeadLetter(
        id=f"{record.topic.removesuffix(SUFFIX)}/{record.partition}/{record.offset}",
        record=Record(
            topic=text["dlq_topic"],
            key=record.key,
            value=record.value,
            headers=[(n, v) for n, v in record.headers if not n.startswith(OWN_HEADERS)],
        ),
        reason=text.get("dlq_reason", ""),
        function=text.get("dlq_function", ""),
        time=text.get("dlq_time", ""),
        replays=int(replays) if replays.isdigit() else 0,
    )
