"""Connections and transactions: SQLite or PostgreSQL, through peewee."""

import sqlite3
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import peewee

from ..data_directory import make_folder
from ..errors import ContractError
from ..secrets import check_url
from .kept import Kept, kept
from .sqlite import check_sqlite, is_about_a_transaction, is_mistake, sqlite_file

# What a handler is told whose transaction is no longer there.
WENT_ON = (
    "went on after the end of its transaction, which no handler may end; on PostgreSQL, the "
    "database's error does: use INSERT … ON CONFLICT, or put what may fail into database.atomic()"
)

# The database can't be reached, is locked, or has no room. peewee lets SQLite's own error through
# where rows are returned by an INSERT.
UNAVAILABLE = (peewee.OperationalError, peewee.InterfaceError, sqlite3.OperationalError)

MEMORY = ":memory:"  # in place of a file's path
CACHE = 32 * 1024  # KiB of a SQLite file kept in memory, at most
BATCH_LOCK = 0x5A6B  # number of a PostgreSQL advisory lock
LOCK_TIMEOUT = 5.0  # seconds that a SQLite writer waits for another one
LONGEST = 30.0  # seconds that a statement may take where nobody says otherwise


def connect(url: str, *, shared: bool = False, longest: float = LONGEST) -> peewee.Database:
    """Open the database at `url`: `sqlite:///PATH`, `sqlite://` (in memory) or `postgresql://…`.

    Each thread has a connection of its own; with `shared`, all have one, and take turns themselves.
    PostgreSQL gives up what takes well over `longest` seconds: one statement, or a transaction's
    wait for the next one.

    SQLite runs in write-ahead mode and syncs at every commit, so that what was committed survives a
    power cut. Raises `ContractError` for any other URL, one that can't be read, or an old SQLite.
    """
    scheme, _, rest = url.partition("://")
    check_sqlite(url)
    if scheme.lower() == "sqlite":
        return _sqlite(str(sqlite_file(url) or MEMORY), shared=shared)
    if scheme.lower() in ("postgresql", "postgres"):
        url = f"postgresql://{rest}"  # the one scheme that peewee knows
        # Imported late: who is on SQLite need not wait for psycopg.
        from .postgres import CLIENT, CountingCursor, Postgres, session_options

        check_url(url)
        return Postgres(
            url,
            prefer_psycopg3=True,
            thread_safe=not shared,
            cursor_factory=CountingCursor,
            options=session_options(url, longest),
            **CLIENT,
        )
    raise ContractError(f"database URL {scheme}://… is neither sqlite:// nor postgresql://")


class _ToldMistakes:
    """A context in which a mistake in SQL is a `ProgrammingError`, as it is on PostgreSQL."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, peewee.OperationalError):
            cause = getattr(error, "orig", None)  # the driver's own error
            if is_mistake(cause):
                raise peewee.ProgrammingError(cause, *error.args) from error


TOLD_MISTAKES = _ToldMistakes()


def as_text(value: Any) -> Any:
    """Read bytes as text: SQLite takes any, and one row must not be an error of the database."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value


class Sqlite(Kept, peewee.SqliteDatabase):  # type: ignore[misc]
    """A database whose file, and the folder around it, is made when it is first used.

    They are not made again: what was removed since is not what has nothing in it yet.
    """

    _made = False

    def _connect(self) -> Any:
        if not self._made:
            make_folder(Path(self.database).parent)
            self._made = True
        elif self.database != MEMORY and not Path(self.database).exists():
            raise peewee.OperationalError(f"unable to open {self.database}: it was removed")
        connection = super()._connect()
        # As `as_text`, in C: each text that is read is a call.
        connection.text_factory = partial(str, errors="replace")
        return connection

    def rollback(self) -> None:
        """Roll back, unless the transaction has ended by itself, or somebody has ended it."""
        if self.connection().in_transaction:
            super().rollback()

    def execute_sql(self, sql: str, params: Any = None) -> Any:
        """Run a statement; raise `peewee.ProgrammingError` where it is wrong."""
        with nullcontext() if is_about_a_transaction(sql) else TOLD_MISTAKES:
            return super().execute_sql(sql, params)


def _sqlite(path: str, *, shared: bool) -> Sqlite:
    return Sqlite(
        path,
        timeout=LOCK_TIMEOUT,
        returning_clause=True,
        thread_safe=not shared,
        check_same_thread=not shared,
        pragmas={"journal_mode": "wal", "synchronous": "full", "cache_size": -CACHE},
    )


def transaction(database: peewee.Database, *, alone: bool = False) -> AbstractContextManager[None]:
    """Run a block in one transaction, as the only writer where the database is SQLite.

    A SQLite transaction that reads first and writes later can fail halfway, when another writer was
    faster; taking the write lock at the start makes it wait instead. On PostgreSQL, one that is
    `alone` waits for others that are. Batches are: they lock rows in the order of their messages,
    so two of them side by side would wait for each other again and again.
    """
    block: AbstractContextManager[None] = database.atomic(*_how(database, alone=alone))
    return block


def _how(database: peewee.Database, *, alone: bool) -> tuple[str, ...]:
    if isinstance(database, peewee.SqliteDatabase):
        return ("IMMEDIATE",)
    return (f"SELECT pg_advisory_xact_lock({BATCH_LOCK})",) if alone else ()


def snapshot(database: peewee.Database) -> AbstractContextManager[None]:
    """Run a block whose reads all see the database as it is at the first of them.

    Within a transaction they see what that does.
    """
    on_sqlite = isinstance(database, peewee.SqliteDatabase)
    how = "DEFERRED" if on_sqlite else "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
    block: AbstractContextManager[None] = database.atomic(how)
    return block


class CommitRefused(Exception):
    """What a transaction has written is refused when it is committed; the cause says why."""


class batch_transaction(AbstractContextManager[None]):  # noqa: N801 - reads like a function
    """Runs a block in a transaction that is part of no other, alone, and that it can't end itself.

    Raises `CommitRefused` where only the commit shows that something written may not stay, as a
    deferred constraint does. No other try mends that, as it may an error of the block's.
    """

    def __init__(self, database: peewee.Database) -> None:
        self._transaction = database.transaction(*_how(database, alone=True))
        self._kept = kept(database)

    def __enter__(self) -> None:
        self._transaction.__enter__()
        self._kept.__enter__()

    def __exit__(self, kind: type[BaseException] | None, *raised: Any) -> None:
        self._kept.__exit__()
        try:
            self._transaction.__exit__(kind, *raised)
        except peewee.DatabaseError as error:
            if kind is not None or isinstance(error, UNAVAILABLE):
                raise
            raise CommitRefused(str(error)) from error


def rows_written(database: peewee.Database) -> int | None:
    """Count the rows that this connection has ever written; None where its transaction has failed.

    A statement that SQLite refuses leaves the transaction as it was; PostgreSQL's takes it along.
    """
    connection = database.connection()
    if isinstance(database, peewee.SqliteDatabase):
        return int(connection.total_changes)
    from .postgres import rows_written as written

    return written(connection)


def is_over(database: peewee.Database) -> bool:
    """Tell whether somebody has ended this connection's transaction, if it is not lost."""
    connection = database.connection()
    if isinstance(database, peewee.SqliteDatabase):
        return not connection.in_transaction
    from .postgres import is_over as is_ended

    return is_ended(connection)


def is_spoilt(database: peewee.Database) -> bool:
    """Tell whether this connection's transaction has failed, or somebody has ended it."""
    fails = not isinstance(database, peewee.SqliteDatabase)
    return is_over(database) or (fails and rows_written(database) is None)


def is_serialization_failure(error: BaseException) -> bool:
    """Tell whether the database gave the whole transaction up: PostgreSQL's class 40 errors."""
    return _sqlstate(error).startswith("40")


def is_aftermath(error: BaseException) -> bool:
    """Tell whether PostgreSQL refuses a statement only because of an error before it."""
    return _sqlstate(error) == "25P02"


def _sqlstate(error: BaseException) -> str:
    try:
        cause = getattr(error, "orig", error)  # peewee's errors keep the driver's there
        return str(getattr(cause, "sqlstate", None))
    except Exception:  # a handler's error may raise something of its own for what it has not
        return ""


def locked(query: Any, database: peewee.Database) -> Any:
    """Make a SELECT lock its rows until the transaction ends; SQLite has one writer anyway."""
    return query if isinstance(database, peewee.SqliteDatabase) else query.for_update()
