"""A message that ends the process: found by who died with it in hand, and set aside.

A handler that hangs is ended with its process, one that takes all memory or crashes the interpreter
ends it itself; then the same message comes again. So a process to which a partition has come not
long ago notes what it takes in hand of it, on a connection of its own. Where a note is there
already, somebody has died there: those records are taken one by one, and one that has ended three
processes is guilty.

Only then: what has ended one process is what the next one begins the partition with, as its offset
was not committed. Later it would be two more writes a batch.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import peewee

from .database.connection import UNAVAILABLE
from .database.schema import Table, bind
from .database.statements import prepared
from .envelope import Record
from .errors import first_line

log = logging.getLogger(__name__)

# Two that note the same at once, after a rebalance, are a nuisance to none; what is no number has
# been written by hand.
TROUBLE = (*UNAVAILABLE, peewee.IntegrityError, TypeError)

DEATHS = 3  # with one record in hand, alone or not, until it is guilty
YOUNG = 10.0  # seconds since a partition first came to a process
SUSPECT_FOR = 60.0  # seconds that the next record may take to come: its partition may have moved

Place = tuple[str, int]  # a topic and the number of one of its partitions


class Suspect(Table):
    """What a function's process has in hand: records of one partition, from `first` up to `end`.

    `begun` counts the processes that have had it in hand, this one included. Whoever finds it knows
    that all of them are dead. One partition may have several, where a group has gone back in it.
    """

    function = peewee.CharField()
    topic = peewee.CharField()
    partition = peewee.IntegerField()
    first = peewee.BigIntegerField()
    end = peewee.BigIntegerField()
    begun = peewee.IntegerField()

    class Meta:
        """peewee's settings."""

        table_name = "suspects"
        primary_key = peewee.CompositeKey("function", "topic", "partition", "first")


class Note(NamedTuple):
    """Records of one partition, and how many processes have had them in hand."""

    first: int
    end: int
    begun: int

    def covers(self, offset: int) -> bool:
        """Tell whether this record is among them."""
        return self.first <= offset < self.end


Found = Mapping[Place, Sequence[Note]]


class Plan(NamedTuple):
    """What to do with a batch: take so many of its records; where `guilty`, set the one aside.

    `notes` is to be written first, and `rest` is what stays suspect behind the one that is taken.
    """

    take: int
    guilty: bool
    notes: Mapping[Place, Note]
    rest: Mapping[Place, Note]


def plan(records: Sequence[Record], found: Found) -> Plan:
    """Decide about a batch from the notes of those who have died."""
    notes: dict[Place, Note] = {}
    for number, record in enumerate(records):
        place = record.topic, record.partition
        note = next((n for n in found.get(place, ()) if n.covers(record.offset)), None)
        if note is not None:
            if number == 0:
                return _alone(place, record.offset, note)
            return Plan(number, guilty=False, notes=notes, rest={})
        first = notes[place].first if place in notes else record.offset
        notes[place] = Note(first, record.offset + 1, 1)
    return Plan(len(records), guilty=False, notes=notes, rest={})


def _alone(place: Place, offset: int, note: Note) -> Plan:
    end = offset + 1
    was_alone = note.first == offset and note.end == end
    return Plan(
        take=1,
        guilty=was_alone and note.begun >= DEATHS,
        notes={place: Note(offset, end, note.begun + 1)},
        rest={place: note._replace(first=end)} if end < note.end else {},
    )


class Suspects:
    """The notes of one function's processes, on a connection that is this one's alone.

    What goes wrong with them is told in the log, and holds up nothing.
    """

    def __init__(
        self,
        function: str,
        database: peewee.Database,
        stopwatch: Callable[[], float] = time.monotonic,
    ) -> None:
        self._function = function
        self._database = database
        self._stopwatch = stopwatch
        self._since: dict[Place, float] = {}  # when a partition first came
        self._rest_until = 0.0
        self._rest: dict[Place, Note] = {}
        self._left: dict[Place, Note] = {}  # notes of our own that could not be taken back

    def close(self) -> None:
        """Let the connection go, if there is one."""
        if not self._database.is_closed():
            self._database.close()

    def watch(self, records: Sequence[Record]) -> bool:
        """Tell whether what is taken in hand has to be noted."""
        now, young = self._stopwatch(), False
        if self._rest and now >= self._rest_until:
            self._rest.clear()
        for record in records:
            if self._since.setdefault((record.topic, record.partition), now) > now - YOUNG:
                young = True
        if self._rest or self._left or young:
            return True
        self.close()
        return False

    def begin(self, records: Sequence[Record]) -> Plan:
        """Note what is taken in hand, and say how much of it that may be."""
        planned = None
        try:
            self._connect()
            planned = plan(records, self._found())
            self._write(planned.notes)
        except TROUBLE as error:
            log.warning("not noted what is in hand: %s", first_line(error))
            self._left |= planned.notes if planned else {}  # perhaps its COMMIT was not heard
            self.close()  # it may be dead: the next batch opens another
            return Plan(len(records), guilty=False, notes={}, rest={})
        for place, note in planned.notes.items():
            if place in self._rest and self._rest[place].first < note.end:
                del self._rest[place]
        if planned.rest:
            self._rest.update(planned.rest)
            self._rest_until = self._stopwatch() + SUSPECT_FOR
        return planned

    def end(self, planned: Plan) -> None:
        """Take back what was noted: it is worked off."""
        try:
            for place, note in [*self._left.items(), *planned.notes.items()]:
                _delete.on(self._database, self._function, *place, note.first, note.end)
            self._left.clear()
        except TROUBLE as error:
            log.warning("a note of what was in hand stays: %s", first_line(error))
            self._left |= planned.notes
            self.close()

    def _connect(self) -> None:
        if self._database.is_closed():
            bind(self._database, [Suspect])
            # Nothing here has to outlive a power cut: that ends nobody because of a message.
            sqlite = isinstance(self._database, peewee.SqliteDatabase)
            quick = "PRAGMA synchronous = normal" if sqlite else "SET synchronous_commit = off"
            self._database.execute_sql(quick)

    def _found(self) -> Found:
        found: dict[Place, list[Note]] = {}
        for topic, partition, *note in _select.on(self._database, self._function):
            of_one = Note(*note)
            if of_one == self._left.get((topic, partition)):  # we are not dead
                of_one = of_one._replace(begun=of_one.begun - 1)
            if of_one.begun:
                found.setdefault((topic, partition), []).append(of_one)
        for place, rest in self._rest.items():
            found.setdefault(place, []).append(rest)
        return found

    def _write(self, notes: Mapping[Place, Note]) -> None:
        with self._database.atomic():
            for place, note in notes.items():
                _delete.on(self._database, self._function, *place, note.first, note.end)
                _insert.on(self._database, self._function, *place, *note)


@prepared
def _select(function: str) -> Any:
    row = Suspect
    found = row.select(row.topic, row.partition, row.first, row.end, row.begun)
    return found.where(row.function == function)


@prepared
def _insert(function: str, topic: str, partition: int, first: int, end: int, begun: int) -> Any:
    return Suspect.insert(
        function=function, topic=topic, partition=partition, first=first, end=end, begun=begun
    )


@prepared
def _delete(function: str, topic: str, partition: int, first: int, end: int) -> Any:
    row = Suspect
    here = (row.function == function, row.topic == topic, row.partition == partition)
    return row.delete().where(*here, row.first < end, row.end > first)
