"""The outbox: what a service's timers ask for, until the broker has it, and when each is next due.

A command is stored in the transaction of the tick that asks for it, and deleted when it has been
sent: a process that dies between the two leaves it to the next one. Where a command is sent twice,
the inbox of the service that it is for knows it again.
"""

import json
import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import peewee

from .database.columns import Id, Instant
from .database.schema import Table
from .database.statements import one_of, prepared
from .envelope import Record
from .errors import ContractError, first_line
from .topic import check_topic

log = logging.getLogger(__name__)

SENT_TOGETHER = 500  # commands


class OutboxRow(Table):
    """A command that a timer asks for, as the topic will hold it."""

    id = Id()
    timer = peewee.CharField()
    topic = peewee.CharField()
    key = peewee.TextField()
    value = peewee.TextField()
    headers = peewee.TextField()  # JSON

    class Meta:
        """peewee's settings."""

        table_name = "outbox"
        indexes = ((("timer", "id"), False),)


class DueRow(Table):
    """When a timer is next due; it is locked while the timer ticks."""

    timer = peewee.CharField(primary_key=True)
    due_at = Instant()

    class Meta:
        """peewee's settings."""

        table_name = "timer_due"


TABLES: list[type[Table]] = [OutboxRow, DueRow]


class Unsent(NamedTuple):
    """A stored command, and the number that it is stored under."""

    number: int
    record: Record


def lock_due(database: peewee.Database, timer: str, now: datetime) -> datetime:
    """Return when a timer is due; nobody else learns it until this transaction has ended.

    One that has never ticked is due now.
    """
    found = _select_due.on(database, timer)
    if not found:
        _insert_due.on(database, timer, now)
        found = _select_due.on(database, timer)
    due_at: datetime = found[0][0]
    return due_at


def set_due(database: peewee.Database, timer: str, due_at: datetime) -> None:
    """Store when a timer is next due."""
    _update_due.on(database, timer, due_at)


def put(database: peewee.Database, timer: str, records: Sequence[Record]) -> None:
    """Store what has to be sent for a timer."""
    _insert.many(database, [(timer, *_columns(record)) for record in records])


def unsent(database: peewee.Database, timer: str) -> list[Unsent]:
    """Return what has to be sent for a timer, the oldest first, up to `SENT_TOGETHER` of it.

    A row that can't be read, as somebody may have edited it, is told in the log and passed over.
    """
    found = []
    for number, topic, key, value, headers in _select.on(database, timer):
        try:
            check_topic("its topic", topic)
            record = Record(topic, key.encode(), value.encode(), _headers(headers))
        except (ValueError, TypeError, AttributeError, RecursionError, ContractError) as error:
            log.error("row %d of the outbox can't be read: %s", number, first_line(error))
        else:
            found.append(Unsent(number, record))
    return found


def delete(database: peewee.Database, numbers: Iterable[int]) -> None:
    """Forget what has been sent."""
    _delete.on(database, numbers)


def _columns(record: Record) -> tuple[str, str, str, str]:
    headers = json.dumps([(name, value.decode()) for name, value in record.headers])
    return record.topic, (record.key or b"").decode(), (record.value or b"").decode(), headers


def _headers(text: str) -> list[tuple[str, bytes]]:
    return [(name, value.encode()) for name, value in json.loads(text)]


@prepared
def _select_due(timer: str) -> Any:
    return DueRow.select(DueRow.due_at).where(DueRow.timer == timer).for_update()


@prepared
def _insert_due(timer: str, due_at: datetime) -> Any:
    return DueRow.insert(timer=timer, due_at=due_at).on_conflict_ignore()


@prepared
def _update_due(timer: str, due_at: datetime) -> Any:
    return DueRow.update(due_at=due_at).where(DueRow.timer == timer)


@prepared
def _insert(timer: str, topic: str, key: str, value: str, headers: str) -> Any:
    return OutboxRow.insert(timer=timer, topic=topic, key=key, value=value, headers=headers)


@prepared
def _select(timer: str) -> Any:
    row = OutboxRow
    found = row.select(row.id, row.topic, row.key, row.value, row.headers)
    return found.where(row.timer == timer).order_by(row.id).limit(SENT_TOGETHER)


@prepared
def _delete(numbers: Iterable[int]) -> Any:
    return OutboxRow.delete().where(one_of(OutboxRow.id, numbers))
