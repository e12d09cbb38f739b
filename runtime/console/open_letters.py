"""Which dead letters are open, as rows of the adapter's database, so that no page reads them all.

What is new on the broker is read from where the last reading ended, and told here in one
transaction with that place: of two processes that read the same, the second one tells nothing.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import peewee

from ..database.connection import transaction
from ..database.schema import Table, bind
from ..dead_letter import SUFFIX, DeadLetter, Origin, place, read_letters

if TYPE_CHECKING:
    from ..kafka.reading import Reading

TIME_LIMIT = 40  # characters
NAME_LIMIT = 255
AT_ONCE = 500  # rows in a statement


class LetterRow(Table):
    """An open dead letter, without its record."""

    id = peewee.TextField(primary_key=True)
    topic = peewee.TextField(index=True)
    partition = peewee.IntegerField()
    offset = peewee.BigIntegerField()
    saga_id = peewee.TextField(null=True, index=True)
    reason = peewee.TextField()
    time = peewee.TextField()
    replays = peewee.IntegerField()

    class Meta:
        """peewee's settings."""

        table_name = "console_letter"
        indexes = ((("time", "id"), False),)


class ReadRow(Table):
    """Up to where topics of dead letters were read: the one row's `places` are JSON."""

    id = peewee.IntegerField(primary_key=True)
    places = peewee.TextField()

    class Meta:
        """peewee's settings."""

        table_name = "console_letters_read"


class Places(NamedTuple):
    """Up to where was read, by topic and partition, and the text of it in the database."""

    text: str
    places: dict[Origin, int]


class Only(NamedTuple):
    """Which dead letters a list is of: of a topic, of a saga, with this in their reason."""

    topic: str | None = None
    saga: str | None = None
    reason: str | None = None


def open_rows(database: peewee.Database) -> None:
    """Make the tables where they are missing."""
    bind(database, [LetterRow, ReadRow])
    ReadRow.insert(id=1, places="[]").on_conflict_ignore().execute()


def places() -> Places:
    """Return up to where was read."""
    text = ReadRow.get_by_id(1).places
    return Places(text, {Origin(*where): offset for *where, offset in json.loads(text)})


def take_up(database: peewee.Database, read: Places, more: "Reading") -> None:
    """Note what more was read than `read`, unless somebody else has done so meanwhile.

    A partition that did not begin there is another than it was, or has lost some of its records.
    """
    if more.places == read.places:
        return
    found, closed = read_letters(more.records)
    # One of another system, whose prefix is a part of the topic's name here, is not ours.
    ours = [_values(one) for one in found if one.id.startswith(f"{one.record.topic}/")]
    text = json.dumps([[*where, offset] for where, offset in more.places.items()])
    with transaction(database):
        moved = ReadRow.update(places=text).where(ReadRow.places == read.text)
        if moved.execute() == 0:
            return
        for where, offset in read.places.items():
            if more.began.get(where) != offset:
                _forget_all_of(where)
        for ids in peewee.chunked(sorted(closed), AT_ONCE):
            forget(ids)
        for rows in peewee.chunked(ours, AT_ONCE):
            LetterRow.insert_many(rows).on_conflict_ignore().execute()


def look(only: Only, after: str, limit: int) -> tuple[list[Any], str]:
    """Return a page of letters, the newest first, and what the next one comes `after`, if any."""
    found = _passing(LetterRow.select(), only)
    if after:
        time, _, letter_id = after.partition("~")
        found = found.where(peewee.Tuple(LetterRow.time, LetterRow.id) < (time, letter_id))
    newest = found.order_by(LetterRow.time.desc(), LetterRow.id.desc())
    rows = list(newest.limit(limit + 1))
    shown = rows[:limit]
    return shown, f"{shown[-1].time}~{shown[-1].id}" if len(rows) > limit else ""


def count(only: Only, most: int | None = None) -> int:
    """Count the letters that pass, up to `most` if that is given."""
    found: int = _passing(LetterRow.select(LetterRow.id), only).limit(most).count()
    return found


def all_ids(only: Only) -> list[str]:
    """List the letters that pass, as they are on the broker, one after the other."""
    found = _passing(LetterRow.select(LetterRow.id), only)
    ordered = found.order_by(LetterRow.topic, LetterRow.partition, LetterRow.offset)
    return [letter_id for (letter_id,) in ordered.tuples()]


def is_open(letter_id: str) -> bool:
    """Tell whether a letter is open."""
    return LetterRow.get_or_none(LetterRow.id == letter_id) is not None


def forget(ids: Sequence[str]) -> None:
    """Forget letters that are closed, or no longer there."""
    LetterRow.delete().where(LetterRow.id.in_(ids)).execute()


def _forget_all_of(where: Origin) -> None:
    topic = LetterRow.topic == where.topic.removesuffix(SUFFIX)
    LetterRow.delete().where(topic & (LetterRow.partition == where.partition)).execute()


def _passing(query: Any, only: Only) -> Any:
    if only.topic is not None:
        query = query.where(LetterRow.topic == only.topic)
    if only.saga is not None:
        query = query.where(LetterRow.saga_id == only.saga)
    if only.reason is not None:
        query = query.where(LetterRow.reason.contains(only.reason))
    return query


def _values(letter: DeadLetter) -> dict[str, Any]:
    topic, partition, offset = place(letter.id)
    return {
        "id": letter.id,
        "topic": topic.removesuffix(SUFFIX),
        "partition": partition,
        "offset": offset,
        "saga_id": letter.saga_id and _text(letter.saga_id)[:NAME_LIMIT],
        "reason": _text(letter.reason),
        "time": _text(letter.time)[:TIME_LIMIT],
        "replays": min(letter.replays, 2**31 - 1),
    }


def _text(text: str) -> str:
    """Return text as PostgreSQL keeps it."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
