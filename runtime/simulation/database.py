"""A SQLite database in memory whose transactions the nemesis disturbs.

What is raised goes through peewee like an error of the database's own.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import peewee

from ..database.kept import Kept
from .invariants import INJECTED
from .nemesis import COMMIT_REFUSED, Nemesis

LATEST = 12  # the statement of a transaction that is disturbed, at most; the last is its COMMIT
SERIALIZATION_FAILURE = "40001"  # as PostgreSQL numbers it


class DatabaseFault(sqlite3.OperationalError):
    """A fault that the simulation has put into a transaction.

    `sqlstate` is PostgreSQL's number for it, where a transaction has been given up.
    """

    def __init__(self, text: str, sqlstate: str | None = None) -> None:
        super().__init__(text)
        self.sqlstate = sqlstate


class SimulatedDatabase(Kept, peewee.SqliteDatabase):  # type: ignore[misc]
    """A database that all processes of one service share; undisturbed but in `disturbed_by`."""

    def __init__(self, service: str) -> None:
        super().__init__(":memory:", returning_clause=True)
        self.commits = 0
        self.watch: Callable[[], None] = lambda: None  # called after each commit
        self._name = f"database {service}"
        self._owes = False  # something that only the COMMIT refuses
        self._nemesis: Nemesis | None = None
        self._story: Callable[[str, str], None] = lambda *_: None
        self._cut = False  # the connection; until it is closed
        self._left = 0  # statements until the fault; 0 where none is to come
        self._strike: Callable[[], None] = lambda: None

    @contextmanager
    def disturbed_by(self, nemesis: Nemesis, tell: Callable[[str, str], None]) -> Iterator[None]:
        """Let things go wrong in this block; `tell` hears of them."""
        self._nemesis, self._story = nemesis, tell
        try:
            yield
        finally:
            self._nemesis = None
            self._cut, self._left, self._owes = False, 0, False

    def owe(self) -> None:
        """Write what only the COMMIT of this transaction refuses."""
        self._owes = True

    def cursor(self, named_cursor: str | None = None) -> Any:
        """Return a cursor for the next statement, if all goes well."""
        if self._cut:
            raise sqlite3.InterfaceError("the connection is closed")
        if self._left:
            self._left -= 1
            if not self._left:
                self._strike()
        return super().cursor(named_cursor)

    def begin(self, lock_type: str | None = None) -> None:
        """Begin a transaction, and decide what will become of it."""
        if self._nemesis is not None:
            self._decide(self._nemesis)
        super().begin(lock_type)

    def commit(self) -> None:
        """Commit, if all goes well; it may be committed and seem not to be."""
        if self._owes and self._nemesis is not None:
            self._tell("refuses a COMMIT")
            self._nemesis.struck[COMMIT_REFUSED] += 1
            raise peewee.IntegrityError(f"{INJECTED}: something is owed")
        super().commit()
        self._left = 0
        self.commits += 1
        self.watch()
        nemesis = self._nemesis
        if nemesis is not None and nemesis.strikes(nemesis.faults.unheard):
            self._cut = True
            self._tell("commits, and its answer is lost")
            raise peewee.OperationalError(DatabaseFault("no answer to COMMIT"))

    def rollback(self) -> None:
        """Roll back, which a connection that was cut can't."""
        self._left, self._owes = 0, False
        super().rollback()

    def close(self) -> bool:
        """Give up the connection; the next use has another one, to the same memory."""
        was_cut, self._cut = self._cut, False
        return was_cut

    def end(self) -> None:
        """Forget everything."""
        super().close()

    def _decide(self, nemesis: Nemesis) -> None:
        self._left = 0
        if nemesis.strikes(nemesis.faults.locked):
            # It may be locked from the start.
            self._left = 1 if nemesis.strikes(0.5) else nemesis.chance.randint(2, LATEST)
            self._strike = self._refuse if nemesis.strikes(0.5) else self._give_up
        elif nemesis.strikes(nemesis.faults.cut):
            self._left = nemesis.chance.randint(1, LATEST)
            self._strike = self._cut_connection

    def _tell(self, what: str) -> None:
        self._story(self._name, what)

    def _refuse(self) -> None:
        self._tell("is locked")
        # Alone among these it may become a handler's own fault: its savepoint is still there.
        raise DatabaseFault(f"database is locked: {INJECTED}")

    def _give_up(self) -> None:
        self._tell("gives a transaction up")
        raise DatabaseFault("could not serialize access", SERIALIZATION_FAILURE)

    def _cut_connection(self) -> None:
        self._tell("loses a connection")
        if self.connection().in_transaction:
            self.connection().rollback()
        self._cut = True
        raise DatabaseFault("connection lost")
