"""A service's database: SQLite or PostgreSQL through peewee, and the exact column types."""

import logging
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache, lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import peewee

from ..errors import ContractError

log = logging.getLogger(__name__)

# The database can't be reached, is locked, or has no room. peewee lets SQLite's own error through
# where rows are returned by an INSERT.
UNAVAILABLE = (peewee.OperationalError, peewee.InterfaceError, sqlite3.OperationalError)

Row = Sequence[Any]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
CENTS = Decimal("0.01")

CACHE = 32 * 1024  # KiB of a SQLite file kept in memory, at most
SCHEMA_LOCK, BATCH_LOCK = 0x5A6A, 0x5A6B  # numbers of PostgreSQL advisory locks
LOCK_TIMEOUT = 5.0  # seconds that a SQLite writer waits for another one


class Instant(peewee.BigIntegerField):  # type: ignore[misc]
    """A moment, kept as microseconds since 1970 in UTC: exact and ordered on every database."""

    def db_value(self, value: datetime | None) -> int | None:
        """Turn an aware datetime into microseconds."""
        return None if value is None else (value - EPOCH) // MICROSECOND

    def python_value(self, value: int | None) -> datetime | None:
        """Turn microseconds into an aware datetime."""
        return None if value is None else EPOCH + timedelta(microseconds=value)


class Money(peewee.BigIntegerField):  # type: ignore[misc]
    """An amount of money, kept as whole cents: SQLite's DECIMAL would make floats of it."""

    def db_value(self, value: Decimal | None) -> int | None:
        """Turn an amount into cents; raise `ValueError` if it has a third decimal place."""
        if value is None:
            return None
        cents = Decimal(value) * 100
        if cents != int(cents):
            raise ValueError(f"{value} has more than two decimal places")
        return int(cents)

    def python_value(self, value: int | None) -> Decimal | None:
        """Turn cents into an amount with two places."""
        return None if value is None else (Decimal(value) / 100).quantize(CENTS)


class Id(peewee.BigAutoField):  # type: ignore[misc]
    """A number that the database gives once: never again, even after its row is deleted."""

    def ddl(self, context: Any) -> Any:
        """Add what SQLite needs to be told; PostgreSQL's sequences never go back."""
        nodes = super().ddl(context)
        if isinstance(self.model._meta.database, peewee.SqliteDatabase):
            return peewee.NodeList((nodes, peewee.SQL("AUTOINCREMENT")))
        return nodes


class Table(peewee.Model):  # type: ignore[misc]
    """Base of a service's tables; the runtime binds them to the service's database."""

    class Meta:
        """peewee's settings."""

        legacy_table_names = False


def connect(url: str) -> peewee.Database:
    """Open the database at `url`: `sqlite:///PATH`, `sqlite://` (in memory) or `postgresql://…`.

    SQLite runs in write-ahead mode and syncs at every commit, so that what was committed survives a
    power cut. Raises `ContractError` for any other URL.
    """
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        # A path may hold any character, which urlsplit does not expect.
        return _sqlite(url.removeprefix("sqlite://").removeprefix("/") or ":memory:")
    if parts.scheme in ("postgresql", "postgres"):
        return peewee.PostgresqlDatabase(
            url,
            prefer_psycopg3=True,
            autoconnect=True,
            connect_timeout=5,  # seconds
            # A server that has gone silent must not hold a worker for ever.
            tcp_user_timeout=10_000,  # milliseconds
            keepalives_idle=10,  # seconds
        )
    raise ContractError(f"database URL {parts.scheme}://… is neither sqlite:// nor postgresql://")


def _sqlite(path: str) -> peewee.SqliteDatabase:
    if path != ":memory:":
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    return peewee.SqliteDatabase(
        path,
        timeout=LOCK_TIMEOUT,
        returning_clause=True,
        pragmas={"journal_mode": "wal", "synchronous": "full", "cache_size": -CACHE},
    )


def tables_in(module: ModuleType) -> list[type[Table]]:
    """List the tables that a module holds, imported ones included."""
    found = (value for value in vars(module).values() if isinstance(value, type))
    return [value for value in found if issubclass(value, Table) and value is not Table]


def bind(database: peewee.Database, tables: Iterable[type[Table]]) -> None:
    """Point the tables at the database, and create those that it lacks, and their indexes.

    What is there is only looked at: to create it again "if it does not exist" would lock it on
    PostgreSQL, against and in turn with those that are writing to it.
    """
    tables = list(tables)
    database.bind(tables)
    if not _incomplete(database, tables):
        return
    with transaction(database):
        if isinstance(database, peewee.PostgresqlDatabase):
            # Two processes that create the same table at once would fail on PostgreSQL's catalogue.
            database.execute_sql("SELECT pg_advisory_xact_lock(%s)", (SCHEMA_LOCK,))
        database.create_tables(_incomplete(database, tables), safe=True)


def _incomplete(database: peewee.Database, tables: Iterable[type[Table]]) -> list[type[Table]]:
    """List the tables that the database lacks, or that lack an index in it."""
    there = set(database.get_tables())
    return [
        table
        for table in tables
        if table._meta.table_name not in there
        or {index._name for index in table._meta.fields_to_index()}.difference(
            index.name for index in database.get_indexes(table._meta.table_name)
        )
    ]


@contextmanager
def transaction(database: peewee.Database) -> Iterator[None]:
    """Run the block in one transaction, as the only writer where the database is SQLite.

    A SQLite transaction that reads first and writes later can fail halfway, when another writer was
    faster; taking the write lock at the start makes it wait instead.
    """
    if isinstance(database, peewee.SqliteDatabase):
        with database.atomic("IMMEDIATE"):
            yield
    else:
        with database.atomic():
            yield


def serialize_batches(database: peewee.Database) -> None:
    """Make the running transaction the only one of its kind, until it ends.

    A batch locks rows in the order of its messages, so two batches side by side would wait for each
    other again and again. SQLite has one writer anyway.
    """
    if isinstance(database, peewee.PostgresqlDatabase):
        database.execute_sql("SELECT pg_advisory_xact_lock(%s)", (BATCH_LOCK,))


def is_serialization_failure(error: BaseException) -> bool:
    """Tell whether the database gave the whole transaction up: PostgreSQL's class 40 errors."""
    cause = error.args[0] if isinstance(error, peewee.PeeweeException) and error.args else None
    return str(getattr(cause, "sqlstate", None) or "").startswith("40")


def locked(query: Any, database: peewee.Database) -> Any:
    """Make a SELECT lock its rows until the transaction ends; SQLite has one writer anyway."""
    return query if isinstance(database, peewee.SqliteDatabase) else query.for_update()


def write_many(fields: Sequence[Any], rows: Sequence[Row], *, update: Sequence[Any] = ()) -> None:
    """Insert rows, given as the values of `fields`.

    Where the first field's value is there already, the fields in `update` are set instead.
    """
    if not rows:
        return
    table = fields[0].model
    database = table._meta.database
    sql = _insert(type(database).__name__, table, _names(fields), _names(update))
    to_columns = [field.db_value for field in fields]
    values = [
        [convert(value) for convert, value in zip(to_columns, row, strict=True)] for row in rows
    ]
    with peewee.__exception_wrapper__:
        database.cursor().executemany(sql, values)


def read_many(fields: Sequence[Any], keys: Iterable[Any], *, lock: bool = False) -> list[Row]:
    """Return rows, as the columns of `fields`, whose first field is one of the keys, in its order.

    With `lock`, they stay locked until the transaction ends.
    """
    table, keys = fields[0].model, list(keys)
    database = table._meta.database
    sql = _select(type(database).__name__, table, _names(fields), len(keys), lock)
    found: list[Row] = database.execute_sql(sql, keys).fetchall()
    return found


# peewee takes longer to build a statement than a database to run it: each is built once. A field is
# no key for a cache, as two of one name look the same to it; hence the names.


@cache
def _insert(_: str, table: Any, names: tuple[str, ...], update: tuple[str, ...]) -> str:
    fields = _fields(table, names)
    query = table.insert_many([[None] * len(names)], fields=fields).returning()
    if update:
        query = query.on_conflict(conflict_target=fields[:1], preserve=_fields(table, update))
    return str(query.sql()[0])


@lru_cache(maxsize=4096)
def _select(_: str, table: Any, names: tuple[str, ...], keys: int, lock: bool) -> str:
    fields = _fields(table, names)
    query = table.select(*fields).where(fields[0].in_([""] * keys)).order_by(fields[0])
    return str((locked(query, table._meta.database) if lock else query).sql()[0])


def _names(fields: Sequence[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in fields)


def _fields(table: Any, names: Sequence[str]) -> list[Any]:
    return [table._meta.fields[name] for name in names]
