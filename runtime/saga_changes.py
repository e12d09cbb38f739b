"""Which sagas change, noted for those who follow them live: one row for a transaction.

Rows are read in the order of their numbers, and only those below which none can still come: whoever
knows a `Place` among them misses nothing behind it. On SQLite, a number is given while nobody else
writes. On PostgreSQL, it is the transaction's own, and there are none to come below the oldest that
is still running, anywhere on the server.

They are kept for an hour. The last row that is older stays, marked: by it is seen that what was
before it is gone, and the next row's number follows it.
"""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import peewee

from .clock import EPOCH
from .database.columns import Instant, TransactionNumber
from .database.connection import transaction
from .database.schema import Table
from .database.statements import prepared
from .saga_state import SagaState

KEPT = timedelta(hours=1)
MOST = 50_000  # rows that are kept, whatever their age

_LINE = re.compile(r"(.+) (?:([0-9]{1,6}) ([0-9]{1,6})|- ([A-Z_]{1,20}))")
_PLACE = re.compile(r"([0-9]{1,18})-([0-9]{1,9})")


class ChangeRow(Table):
    """One transaction. `sagas` has a line for each saga: its id, and which history entries are new.

    They are those from a first one on, up to before another one; or it is `- STATUS`, of one that
    stands otherwise without an entry: set aside as it can't be read, or taken up again. `at` is
    when they were written, or `EPOCH` in the row behind which everything is kept.
    """

    number = TransactionNumber()
    at = Instant()
    sagas = peewee.TextField()

    class Meta:
        """peewee's settings."""

        table_name = "saga_change"


class Place(NamedTuple):
    """A place behind the `nth` change of a transaction."""

    number: int
    nth: int

    def __str__(self) -> str:
        return f"{self.number}-{self.nth}"


class Change(NamedTuple):
    """One new entry of a saga's history, by its index in the row, and the place behind it.

    Without an entry, the saga has only another `status` since then.
    """

    place: Place
    saga_id: str
    entry: int | None
    status: str
    at: datetime


def parse(text: str) -> Place | None:
    """Read a place as it writes itself; None where it is something else."""
    found = _PLACE.fullmatch(text)
    return Place(int(found[1]), int(found[2])) if found else None


def note(database: peewee.Database, changes: Iterable[tuple[SagaState | None, SagaState]]) -> None:
    """Note the changes of sagas, before and after, in the transaction that makes them."""
    told = [
        (new, len(old.history) if old is not None else 0)
        for old, new in changes
        if old is None or len(new.history) > len(old.history)
    ]
    if told:
        lines = [f"{new.id} {first} {len(new.history)}\n" for new, first in told]
        _insert.later(database, [(max(new.updated_at for new, _ in told), "".join(lines))])


def note_status(database: peewee.Database, state: SagaState, now: datetime) -> None:
    """Note that a saga stands otherwise, and has no new entry; in the transaction that does so."""
    _insert.on(database, now, f"{state.id} - {state.status}\n")


def position(database: peewee.Database) -> Place:
    """Return the place behind all that is there to be read."""
    if isinstance(database, peewee.SqliteDatabase):
        return Place(max(_numbers(_select_newest.on(database, 0)), default=0) + 1, 0)
    [(first,)] = database.execute_sql(f"SELECT {_SETTLED}")
    return Place(first, 0)


def read(database: peewee.Database, after: Place, rows: int) -> list[Change]:
    """Return the changes behind a place, in order, of at most so many transactions."""
    select = _select if isinstance(database, peewee.SqliteDatabase) else _select_settled
    found: list[Change] = []
    for number, sagas, at in select.on(database, after.number, rows):
        entries = [entry for line in sagas.splitlines() for entry in _entries(line)]
        found += [Change(Place(number, nth), *entry, at) for nth, entry in enumerate(entries, 1)]
    return [change for change in found if change.place > after]


def _entries(line: str) -> list[tuple[str, int | None, str]]:
    """Return a saga's new entries, or its status; none where somebody has written over the row."""
    if (told := _LINE.fullmatch(line)) is None:
        return []
    if told[4]:
        return [(told[1], None, told[4])]
    return [(told[1], entry, "") for entry in range(int(told[2]), int(told[3]))]


def held_since(database: peewee.Database) -> datetime | None:
    """Return since when changes are there that can't be read yet; None where there are none.

    On PostgreSQL, a transaction that is still running, whatever it writes, holds them back.
    """
    if isinstance(database, peewee.SqliteDatabase):
        return None
    held: list[tuple[datetime]] = _select_held.on(database, EPOCH)
    return held[0][0] if held else None


def is_lost(database: peewee.Database, place: Place) -> bool:
    """Tell whether what is behind a place is no longer all there, or it is of another database."""
    last = position(database).number
    for oldest, at in _select_oldest.on(database):
        if at == EPOCH and place.number < oldest < last:
            return True
    return place.number > last


def prune(database: peewee.Database, now: datetime) -> None:
    """Drop what is too old, or too much, in a transaction of its own, if there is such."""
    kept = _numbers(_select_recent.on(database, now - KEPT))
    kept += _numbers(_select_newest.on(database, MOST - 1))
    dropped = _select_before.on(database, max(kept)) if kept else _select_newest.on(database, 0)
    for last in _numbers(dropped):
        if (last, EPOCH) not in _select_oldest.on(database):
            with transaction(database):
                _mark.on(database, last, EPOCH)
                _delete_before.on(database, last)


def _numbers(rows: list[tuple[int]]) -> list[int]:
    return [number for (number,) in rows]


# The functions have their old names, which PostgreSQL 12 knows, too, and give numbers as integers.
_SETTLED = "txid_snapshot_xmin(txid_current_snapshot())"


@prepared
def _insert(at: datetime, sagas: str) -> Any:
    added = {ChangeRow.sagas: ChangeRow.sagas.concat(peewee.EXCLUDED.sagas)}
    # What a transaction changes in two goes is one row.
    return ChangeRow.insert(at=at, sagas=sagas).on_conflict(
        conflict_target=[ChangeRow.number], update=added
    )


@prepared
def _select(number: int, limit: int) -> Any:
    columns = ChangeRow.number, ChangeRow.sagas, ChangeRow.at
    found = ChangeRow.select(*columns).where(ChangeRow.number >= number)
    return found.order_by(ChangeRow.number).limit(limit)


@prepared
def _select_settled(number: int, limit: int) -> Any:
    return _select.build(number, limit).where(ChangeRow.number < peewee.SQL(_SETTLED))


@prepared
def _select_held(but_at: datetime) -> Any:
    held = ChangeRow.select(ChangeRow.at).where(ChangeRow.number >= peewee.SQL(_SETTLED))
    return held.where(ChangeRow.at != but_at).order_by(ChangeRow.number).limit(1)


@prepared
def _select_oldest() -> Any:
    return ChangeRow.select(ChangeRow.number, ChangeRow.at).order_by(ChangeRow.number).limit(1)


@prepared
def _select_before(number: int) -> Any:
    before = ChangeRow.select(ChangeRow.number).where(ChangeRow.number < number)
    return before.order_by(ChangeRow.number.desc()).limit(1)


@prepared
def _select_recent(since: datetime) -> Any:
    found = ChangeRow.select(ChangeRow.number).where(ChangeRow.at >= since)
    return found.order_by(ChangeRow.number).limit(1)


@prepared
def _select_newest(place: int) -> Any:
    """Select the number of the newest row, or of the one at another place before it."""
    newest = ChangeRow.select(ChangeRow.number).order_by(ChangeRow.number.desc())
    return newest.limit(1).offset(place)


@prepared
def _mark(number: int, at: datetime) -> Any:
    return ChangeRow.update(at=at).where(ChangeRow.number == number)


@prepared
def _delete_before(number: int) -> Any:
    return ChangeRow.delete().where(ChangeRow.number < number)
