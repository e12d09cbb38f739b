"""Statements that are built once and run many times.

peewee takes some 60 µs to build an INSERT or UPDATE, many times what SQLite takes to run it. A
`@prepared` function is called once, with stand-ins for its arguments; the SQL that comes of it is
kept, and only the values change from then on. `write_many` and `read_many` keep theirs, too.
"""

import inspect
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import peewee

from ..errors import ContractError
from .connection import locked

Row = Sequence[Any]

_SQL: dict[Hashable, str] = {}


@dataclass(frozen=True)
class _Argument:
    """Stands for an argument while a statement is built, then holds its column's converter."""

    name: str
    convert: Callable[[Any], Any] | None = None


@dataclass(frozen=True)
class _Statement:
    table: Any
    sql: str
    parameters: list[Any]
    returning: list[Callable[[Any], Any]]


class _Recorder(peewee.Context):  # type: ignore[misc]
    """Builds SQL as peewee does, but keeps each argument with the converter of its column."""

    def value(self, value: Any, converter: Any = None, add_param: bool = True) -> Any:
        if not isinstance(value, _Argument):
            return super().value(value, converter, add_param)
        convert = self.state.converter if converter is None else converter
        self._values.append(_Argument(value.name, convert or None))
        return self.literal(self.state.param or "?")


class Prepared:
    """A statement; calling it runs it.

    The call answers with the rows where the statement has RETURNING, else with the number of rows
    that it changed.
    """

    def __init__(self, build: Callable[..., Any]) -> None:
        self.__doc__ = build.__doc__
        self.__name__ = build.__name__
        self.build = build
        self._names = list(inspect.signature(build).parameters)
        # SQLite and PostgreSQL want different SQL.
        self._statements: dict[type[Any], _Statement] = {}
        self._table: Any = None

    def __call__(self, *values: Any) -> Any:
        """Run the statement with these values; raise what peewee raises."""
        statement = self._statement()
        given = dict(zip(self._names, values, strict=True))
        parameters = [_fill(parameter, given) for parameter in statement.parameters]
        database = statement.table._meta.database
        cursor = database.execute_sql(statement.sql, parameters)
        if not statement.returning:
            return database.rows_affected(cursor)
        return [
            tuple(read(value) for read, value in zip(statement.returning, row, strict=True))
            for row in cursor.fetchall()
        ]

    @contextmanager
    def built_anew(self) -> Iterator[None]:
        """Forget what was built so far, and at the end what is built meanwhile."""
        self._statements.clear()
        try:
            yield
        finally:
            self._statements.clear()

    def _statement(self) -> _Statement:
        kind = type(self._table._meta.database) if self._table is not None else None
        if kind not in self._statements:
            first, second = self._prepare(), self._prepare()
            if first.parameters != second.parameters:
                raise ContractError(
                    f"{self.__name__} changes a value from call to call, a default perhaps: "
                    "make it an argument"
                )
            self._table = first.table
            kind = type(self._table._meta.database)
            self._statements[kind] = first
        return self._statements[kind]

    def _prepare(self) -> _Statement:
        query = self.build(*(_Argument(name) for name in self._names))
        table = query.model
        recorder = _Recorder(**table._meta.database.get_context_options())
        sql, parameters = recorder.parse(query)
        returning = [column.python_value for column in query._returning or ()]
        return _Statement(table, sql, parameters, returning)


def prepared(build: Callable[..., Any]) -> Prepared:
    """Turn a function that returns an INSERT, UPDATE or DELETE into one that runs it.

    All that varies must be an argument. The first call raises `ContractError` when something else
    varies, such as a default that is the time: it would be the time of that call for ever.
    """
    return Prepared(build)


def _fill(parameter: Any, given: dict[str, Any]) -> Any:
    if not isinstance(parameter, _Argument):
        return parameter
    value = given[parameter.name]
    return value if parameter.convert is None else parameter.convert(value)


def write_many(
    database: peewee.Database,
    fields: Sequence[Any],
    rows: Sequence[Row],
    *,
    update: Sequence[Any] = (),
) -> None:
    """Insert rows, given as the values of `fields`.

    Where the first field's value is there already, the fields in `update` are set instead.
    """
    if not rows:
        return
    sql = _insert(database, fields, update)
    to_columns = [field.db_value for field in fields]
    values = [
        [convert(value) for convert, value in zip(to_columns, row, strict=True)] for row in rows
    ]
    with peewee.__exception_wrapper__:
        database.cursor().executemany(sql, values)


def read_many(
    database: peewee.Database, fields: Sequence[Any], keys: Iterable[Any], *, lock: bool = False
) -> list[Row]:
    """Return rows, as the columns of `fields`, whose first field is one of the keys, in its order.

    With `lock`, they stay locked until the transaction ends.
    """
    keys = list(keys)
    sql = _select(database, fields, len(keys), lock)
    found: list[Row] = database.execute_sql(sql, keys).fetchall()
    return found


def _insert(database: peewee.Database, fields: Sequence[Any], update: Sequence[Any]) -> str:
    table, names, updated = fields[0].model, _names(fields), _names(update)

    def build() -> Any:
        query = table.insert_many([[None] * len(names)], fields=fields).returning()
        return query.on_conflict(conflict_target=fields[:1], preserve=update) if update else query

    return _sql(database, (table, names, updated), build)


def _select(database: peewee.Database, fields: Sequence[Any], count: int, lock: bool) -> str:
    def build() -> Any:
        query = fields[0].model.select(*fields).where(fields[0].in_([""] * count))
        query = query.order_by(fields[0])
        return locked(query, database) if lock else query

    return _sql(database, (fields[0].model, _names(fields), count, lock), build)


def _sql(database: peewee.Database, key: Hashable, build: Callable[[], Any]) -> str:
    """Return a query's SQL, which is built for the first database of each kind only."""
    key = (type(database), key)
    sql = _SQL.get(key)
    if sql is None:
        sql = _SQL[key] = str(build().bind(database).sql()[0])
    return sql


# A field is no key, as two of one name look the same to it; hence the names.
def _names(fields: Sequence[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in fields)
