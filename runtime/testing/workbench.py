"""A test's workbench: its databases in memory, what was bound before them, and what it counts."""

from collections import Counter
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import peewee

from ..database.connection import connect
from ..database.schema import Table, bind, tables_in
from ..function import Function, declared
from ..inbox import InboxRow

Source = Callable[..., Any] | ModuleType | type[Table]


class Workbench:
    """What the tests of one process share, until `clear` puts it back as it was."""

    def __init__(self) -> None:
        self.faults: Counter[str] = Counter()  # injected so far, by message id
        self._messages = 0
        self._earlier: dict[Any, peewee.Database | None] = {}
        self._opened: list[peewee.Database] = []
        self._of_service: dict[str, peewee.Database] = {}

    def fresh_database(self, *sources: Source) -> peewee.Database:
        """Bind the tables of functions, store modules or single tables to one new database."""
        database = self._open()
        for source in sources:
            self._bind(database, self._tables(source, database))
        return database

    def database_of(self, function: Function) -> peewee.Database:
        """Return the database that a function's tables are on: the one bound, or else a new one."""
        tables = function.tables()
        own = [table for table in tables if table is not InboxRow]
        bound = own[0]._meta.database if own else self._of_service.get(function.service)
        # A closed database in memory is gone: another test has left it behind.
        database = self._open() if bound is None or bound.is_closed() else bound
        self._of_service[function.service] = database
        self._bind(database, [table for table in tables if table._meta.database is not database])
        return database

    def next_saga_id(self) -> str:
        """Make an id for a message that was given none."""
        self._messages += 1
        return f"test-{self._messages}"

    def clear(self) -> None:
        """Bind the tables as they were before, and forget the rest."""
        for table, database in self._earlier.items():
            table._meta.set_database(database)
        for database in self._opened:
            database.close()
        self.faults.clear()
        self._messages = 0
        self._earlier.clear()
        self._opened.clear()
        self._of_service.clear()

    def _open(self) -> peewee.Database:
        database = connect("sqlite://")
        self._opened.append(database)
        return database

    def _bind(self, database: peewee.Database, tables: Iterable[type[Table]]) -> None:
        tables = list(tables)
        for table in tables:
            # peewee binds the tables that it refers to along with it.
            for _, related, _ in table._meta.model_graph():
                self._earlier.setdefault(related, related._meta.database)
        if tables:
            bind(database, tables)

    def _tables(self, source: Source, database: peewee.Database) -> list[type[Table]]:
        if isinstance(source, ModuleType):
            return tables_in(source)
        if isinstance(source, type):
            return [source]
        function = declared(source)
        self._of_service[function.service] = database
        return function.tables()


workbench = Workbench()
