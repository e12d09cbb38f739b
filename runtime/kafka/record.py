"""What a consumer gets, as a `Record`."""

from typing import Any

from ..envelope import Record


def to_record(message: Any) -> Record:
    """Read what a consumer has got as a record."""
    return Record(
        topic=message.topic(),
        key=message.key(),
        value=message.value(),
        headers=message.headers() or [],
        partition=message.partition(),
        offset=message.offset(),
    )
