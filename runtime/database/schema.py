"""A service's tables: their base, and how they come into a database."""

from collections.abc import Iterable
from types import ModuleType
from typing import Any, ClassVar

import peewee

from ..errors import ContractError
from .connection import transaction

SCHEMA_LOCK = 0x5A6A  # number of a PostgreSQL advisory lock


class Table(peewee.Model):  # type: ignore[misc]
    """Base of a service's tables; the runtime binds them to the service's database.

    One that is `clustered` is kept in the order of its primary key: on SQLite it is one tree then,
    and not two.
    """

    clustered: ClassVar[bool] = False

    class Meta:
        """peewee's settings."""

        legacy_table_names = False


def tables_in(module: ModuleType) -> list[type[Table]]:
    """List the tables that a module holds, imported ones included."""
    found = (value for value in vars(module).values() if isinstance(value, type))
    return [value for value in found if issubclass(value, Table) and value is not Table]


def bind(database: peewee.Database, tables: Iterable[type[Table]]) -> None:
    """Point the tables at the database, and create what it lacks of them, as `create_missing`."""
    tables = list(tables)
    database.bind(tables)
    create_missing(database, tables)


def create_missing(database: peewee.Database, tables: Iterable[type[Table]]) -> None:
    """Create those of the tables that a database lacks, and their indexes.

    What is there is only looked at: to create it again "if it does not exist" would lock it on
    PostgreSQL, against and in turn with those that are writing to it. Raises `ContractError` where
    a table that is there lacks a column.
    """
    tables = list(tables)
    there = set(database.get_tables())
    for table in tables:
        if table._meta.table_name in there:
            _check_columns(database, table)
    if not _incomplete(database, tables):
        return
    with transaction(database):
        if isinstance(database, peewee.PostgresqlDatabase):
            # Two processes that create the same table at once would fail on PostgreSQL's catalogue.
            database.execute_sql("SELECT pg_advisory_xact_lock(%s)", (SCHEMA_LOCK,))
            # The index of a large table takes its time.
            database.execute_sql("SET LOCAL statement_timeout = 0")
        # What others refer to comes first.
        for table in peewee.sort_models(_incomplete(database, tables)):
            _Schema(table, database).create_all()


def _check_columns(database: peewee.Database, table: type[Table]) -> None:
    nothing = table.select(peewee.SQL("*")).limit(0)
    there = {column[0] for column in database.execute(nothing).description}
    if lacking := [name for name in table._meta.columns if name not in there]:
        what = f"table {table._meta.table_name} has no column {', '.join(lacking)}"
        raise ContractError(
            f"{what}: it is of an earlier version. The CHANGELOG says how to upgrade a table of "
            "the runtime's; what one of your own lacks is yours to add"
        )


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


class _Schema(peewee.SchemaManager):  # type: ignore[misc]
    """Creates a table as its database can keep it."""

    def _create_table(self, safe: bool = True, **options: Any) -> Any:
        statement = super()._create_table(safe, **options)
        if self.model.clustered and isinstance(self.database, peewee.SqliteDatabase):
            statement.literal(" WITHOUT ROWID")
        return statement
