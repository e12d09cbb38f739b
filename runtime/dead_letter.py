"""Dead letters: records that can't be read, kept with the reason on `TOPIC.dlq`."""

from datetime import datetime

from saga.runtime.message import Record

SUFFIX = ".dlq"


def dead_letter(record: Record, function: str, reason: str, now: datetime) -> Record:
    """Make the dead letter of a record: its bytes and headers untouched, and why it is here."""
    return Record(
        topic=record.topic + SUFFIX,
        key=record.key,
        value=record.value,
        headers=[
            *record.headers,
            ("dlq_reason", reason.encode()),
            ("dlq_function", function.encode()),
            ("dlq_topic", record.topic.encode()),
            ("dlq_partition", b"%d" % record.partition),
            ("dlq_offset", b"%d" % record.offset),
            ("dlq_time", now.isoformat().encode()),
        ],
    )
