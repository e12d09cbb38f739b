"""What came of one invocation: the answer, and what the service's tables hold because of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from .. import body
from ..database.schema import Table
from ..envelope import Outcome, Record, decode
from ..inbox import FENCED, Answer
from ..message import Event
from ..problem import Problem

E = TypeVar("E", bound=Event)
Row = dict[str, Any]
Rows = dict[type[Table], dict[Any, Row]]


@dataclass(frozen=True, slots=True)
class Changes:
    """What happened to one table's rows. An updated row is there as a pair, before and after."""

    inserted: list[Row]
    updated: list[tuple[Row, Row]]
    deleted: list[Row]


@dataclass(frozen=True, slots=True)
class Result(Generic[E]):
    """What came of one invocation.

    `id` is the command's, `record` is the answer that the worker sent, or the dead letter where
    there is no answer, `ran` tells whether the handler was called. `duplicate` means that the
    command had been answered before. `stored` has the tables that changed, and `inbox` the answer
    that the service keeps; None where it keeps none. `letter` is the dead letter of a command that
    could not be read.
    """

    id: str
    record: Record
    ran: bool
    duplicate: bool
    stored: dict[type[Table], Changes]
    inbox: Answer | None
    event_class: type[E]
    letter: Record | None = None

    @property
    def outcome(self) -> Outcome | None:
        """`done`, `rejected` or `failed`; None where all that came of it is a dead letter."""
        return None if self._is_dead else decode(self.record).outcome

    @property
    def event(self) -> E:
        """The event; raises `AssertionError` where there is none."""
        if self.outcome != "done" or self.skipped:
            raise AssertionError(f"there is no event: {self}")
        return body.read(self.event_class, self._body)

    @property
    def rejection(self) -> Problem:
        """Why the command was rejected; raises `AssertionError` where it was not."""
        return self._problem("rejected", "rejection")

    @property
    def fault(self) -> Problem:
        """Why the handler failed; raises `AssertionError` where it did not."""
        return self._problem("failed", "fault")

    @property
    def dead_letter(self) -> str:
        """Why the command could not be read; raises `AssertionError` where it could."""
        if self.letter is None:
            raise AssertionError(f"there is no dead letter: {self}")
        return dict(self.letter.headers)["dlq_reason"].decode()

    @property
    def skipped(self) -> bool:
        """Whether this was the undo of something that had not been done."""
        return not self._is_dead and decode(self.record).type.endswith(".Skipped")

    @property
    def fenced(self) -> bool:
        """Whether this was a do that is refused because its undo came first."""
        return not self._is_dead and self._body == FENCED

    def __str__(self) -> str:
        """Say in one line what came of it."""
        if self._is_dead:
            return f"{self.id} became a dead letter: {self.dead_letter}"
        if self.skipped:
            return f"{self.id} was skipped, as there was nothing to undo"
        if self.outcome == "done":
            return f"{self.id} is done: {self.event!r}"
        why = Problem.model_validate_json(self._body)
        return f"{self.id} {_WAS[self.outcome]}: {why.code}: {why.message}"

    @property
    def _is_dead(self) -> bool:
        return self.record is self.letter

    @property
    def _body(self) -> str:
        return (self.record.value or b"").decode()

    def _problem(self, outcome: Outcome, name: str) -> Problem:
        if self.outcome != outcome:
            raise AssertionError(f"there is no {name}: {self}")
        return Problem.model_validate_json(self._body)


_WAS: dict[Outcome | None, str] = {"rejected": "was rejected", "failed": "failed"}


def rows_of(tables: Iterable[type[Table]]) -> Rows:
    """Read whole tables, each row under its primary key, or under itself where there is none."""
    return {table: {_key(table, row): row for row in table.select().dicts()} for table in tables}


def difference(before: Rows, after: Rows) -> dict[type[Table], Changes]:
    """Tell what has changed, table by table; a table that has not is left out."""
    changes = {table: _changes(before[table], after[table]) for table in after}
    unchanged = Changes([], [], [])
    return {table: change for table, change in changes.items() if change != unchanged}


def _changes(before: dict[Any, Row], after: dict[Any, Row]) -> Changes:
    both = [(before[key], row) for key, row in after.items() if key in before]
    return Changes(
        inserted=[row for key, row in after.items() if key not in before],
        updated=[(was, row) for was, row in both if was != row],
        deleted=[row for key, row in before.items() if key not in after],
    )


def _key(table: type[Table], row: Row) -> tuple[Any, ...]:
    names = [field.name for field in table._meta.get_primary_keys()]
    return tuple(row[name] for name in names or row)
