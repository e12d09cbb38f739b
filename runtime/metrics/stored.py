"""What a database says of its sagas, whoever was killed: how many there are, and how old."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

import peewee

from ..clock import utcnow
from ..database.connection import connect
from ..database.sqlite import sqlite_file
from ..database.statements import prepared
from ..saga_rows import SagaRow
from ..saga_state import IN_FLIGHT, SagaStatus
from .catalogue import OLDEST, SAGAS
from .collecting import Sample

STATUSES: tuple[SagaStatus, ...] = (*IN_FLIGHT, "COMPLETED", "COMPENSATED", "FAILED", "UNREADABLE")
LOOKED_AT = 100  # ids at once


def sagas(database: peewee.Database, now: datetime) -> Iterator[Sample]:
    """Count the sagas by name and status, and tell how old the oldest open one is.

    Both are read from an index. A saga's id tells when it was made: it is a UUID of version 7.
    """
    counted: dict[str, dict[str, int]] = {}
    for name, status, count in _select_counts().bind(database).tuples():
        counted.setdefault(name, dict.fromkeys(STATUSES, 0))[status] = count
    for name, by_status in counted.items():
        yield from ((SAGAS, (name, status), count) for status, count in by_status.items())
        oldest = [made for status in IN_FLIGHT for made in _oldest(database, name, status)]
        if oldest:
            yield OLDEST, (name,), max(0.0, now.timestamp() - min(oldest))


def ask(url: str) -> list[Sample]:
    """Ask a database that is opened for it: who asks next may be another thread.

    Returns nothing where there is no file of SQLite's yet, rather than making one.
    """
    file = sqlite_file(url)
    if file is not None and not file.exists():
        return []
    database = connect(url)
    with database.connection_context():
        return list(sagas(database, utcnow()))


def _oldest(database: peewee.Database, name: str, status: str) -> Iterator[float]:
    """Tell when the oldest saga was made, if there is one; ids that don't tell are passed over."""
    after = ""
    while found := _select_oldest.on(database, name, status, after, LOOKED_AT):
        times = [made for (saga_id,) in found if (made := _made_at(saga_id)) is not None]
        if times:
            yield times[0]
            return
        [after] = found[-1]


def _made_at(saga_id: str) -> float | None:
    """Return when an id was made, in seconds since 1970; None where it does not tell."""
    try:
        made = UUID(saga_id)
    except ValueError:
        return None
    return (made.int >> 80) / 1000 if made.version == 7 else None  # RFC 9562: 48 bits in front


def _select_counts() -> Any:
    counted = SagaRow.select(SagaRow.name, SagaRow.status, peewee.fn.COUNT(peewee.SQL("*")))
    return counted.group_by(SagaRow.name, SagaRow.status)


@prepared
def _select_oldest(name: str, status: str, after: str, limit: int) -> Any:
    found = SagaRow.select(SagaRow.id).where(SagaRow.name == name, SagaRow.status == status)
    return found.where(SagaRow.id > after).order_by(SagaRow.id).limit(limit)
