"""Statements that are built once and run many times.

peewee takes some 60 µs to build an INSERT or UPDATE, many times what SQLite takes to run it. A
`@prepared` function is called once, with stand-ins for its arguments; the SQL that comes of it is
kept, and from then on only bound values go to the driver.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, time
from functools import partial
from itertools import groupby, repeat
from operator import call, is_, itemgetter
from typing import Any, NamedTuple

import peewee
from pydantic_core import to_json

from ..errors import ContractError
from .connection import TOLD_MISTAKES, as_text

Convert = Callable[[Any], Any] | None
Run = Callable[[], object]

NONES = repeat(None)
FITTING = {peewee.TextField.adapt: str, peewee.IntegerField.adapt: int}  # they leave these alone


@dataclass(frozen=True)
class _Argument:
    """Stands for an argument while a statement is built, then holds its column's converter."""

    name: str
    convert: Convert = None


@dataclass(frozen=True)
class _Default:
    """Stands for what a column's default makes at each call."""

    make: Callable[[], Any] = field(compare=False)
    convert: Convert = None

    def value(self) -> Any:
        made = self.make()
        return made if self.convert is None else self.convert(made)


class _Statement(NamedTuple):
    """SQL, and how its parameters come of the arguments and constants, which follow them.

    Each has its place among those, its converter, and the type of values that it leaves as they
    are. `rows` is what makes rows tuples, whatever their connection makes of them.
    """

    sql: str
    parameters: tuple[tuple[int, Convert, type | None], ...]
    constants: tuple[Any, ...]
    returning: tuple[Convert, ...]
    rows: Callable[..., Any] | None

    def fill(self, values: tuple[Any, ...]) -> list[Any]:
        known = values + self.constants
        return [
            known[i] if convert is None or type(known[i]) is fitting else convert(known[i])
            for i, convert, fitting in self.parameters
        ]


class _Recorder(peewee.Context):  # type: ignore[misc]
    """Builds SQL as peewee does, but keeps each stand-in with the converter of its column."""

    def value(self, value: Any, converter: Any = None, add_param: bool = True) -> Any:
        if isinstance(value, (date, time)):
            # One that is asked of a calendar stays the same for too long to be seen to vary.
            raise ContractError(
                f"{value!r} would stay in a statement for ever: make it an argument"
            )
        if not isinstance(value, (_Argument, _Default)):
            return super().value(value, converter, add_param)
        convert = self.state.converter if converter is None else converter
        self._values.append(replace(value, convert=convert or None))
        return self.literal(self.state.param)


class one_of(peewee.ColumnBase):  # type: ignore[misc]  # noqa: N801 - reads like a function
    """The condition that a column is one of the keys: one text of SQL for any number of them."""

    def __init__(self, field: Any, keys: Any) -> None:
        self._field, self._keys = field, keys
        self._fitting = _fitting(_of_values(field.db_value))

    def __sql__(self, context: Any) -> Any:
        sqlite = context.state.param == "?"
        before, after = (" IN (SELECT value FROM json_each(", "))") if sqlite else (" = ANY(", ")")
        context.sql(self._field).literal(before)
        return context.value(self._keys, self._as_json if sqlite else self._as_list).literal(after)

    def _as_list(self, keys: Iterable[Any]) -> list[Any]:
        convert, fitting = self._field.db_value, self._fitting
        return [key if type(key) is fitting else convert(key) for key in keys]

    def _as_json(self, keys: Iterable[Any]) -> str:
        return to_json(self._as_list(keys)).decode()


class Prepared:
    """A statement; calling it runs it, on the database that its table is bound to.

    The call answers with the rows where the statement is a SELECT or has RETURNING, else with the
    number of rows that it changed; it raises what peewee raises.
    """

    def __init__(self, build: Callable[..., Any]) -> None:
        self.__doc__ = build.__doc__
        self.__name__ = build.__name__
        self.build = build
        self._arguments = tuple(_Argument(name) for name in inspect.signature(build).parameters)
        # SQLite and PostgreSQL want different SQL, and `== None` wants another than `== 1`.
        self._statements: dict[tuple[type[Any], tuple[bool, ...]], _Statement] = {}
        self._table: Any = None

    def __call__(self, *values: Any) -> Any:
        """Run the statement with these values, one for each argument."""
        if self._table is None:
            self._table = self.build(*self._arguments).model
        return self.on(self._table._meta.database, *values)

    def on(self, database: peewee.Database, *values: Any) -> Any:
        """Run the statement on this database."""
        statement = self._statement(database, values)
        try:
            cursor = database.cursor()
            # A handler may have asked its connection, which is this one, for rows of another kind.
            cursor.row_factory = statement.rows
            cursor.execute(statement.sql, statement.fill(values))
            if not statement.returning:
                return cursor.rowcount
            found = cursor.fetchall()
        except Exception:  # entered only then: each message runs several
            with TOLD_MISTAKES, peewee.__exception_wrapper__:
                raise
        return [
            tuple(
                [
                    value
                    if convert is None or (convert is as_text and type(value) is str)
                    else convert(value)
                    for convert, value in zip(statement.returning, row, strict=True)
                ]
            )
            for row in found
        ]

    def many(self, database: peewee.Database, rows: Iterable[tuple[Any, ...]]) -> None:
        """Run the statement on this database for each row of values, together."""
        self._each(database, rows, call)

    def later(self, database: peewee.Database, rows: Iterable[tuple[Any, ...]]) -> None:
        """Run it for each row of values not later than at the end of the caller's transaction.

        PostgreSQL gets them together with the next statement, or with the COMMIT: in one round
        trip. An error comes from there.
        """
        self._each(database, rows, getattr(database, "hold", call))

    def _each(
        self,
        database: peewee.Database,
        rows: Iterable[tuple[Any, ...]],
        act: Callable[[Run], object],
    ) -> None:
        filled = []
        for row in rows:
            statement = self._statement(database, row)
            filled.append((statement.sql, statement.fill(row)))
        if not filled:
            return
        with TOLD_MISTAKES, peewee.__exception_wrapper__:
            for sql, alike in groupby(filled, itemgetter(0)):
                values, cursor = [row for _, row in alike], database.cursor()
                if len(values) == 1:  # psycopg takes twice as long for one of many
                    act(partial(cursor.execute, sql, values[0]))
                else:
                    act(partial(cursor.executemany, sql, values))

    @contextmanager
    def built_anew(self) -> Iterator[None]:
        """Forget what was built so far, and at the end what is built meanwhile."""
        self._statements.clear()
        try:
            yield
        finally:
            self._statements.clear()

    def _statement(self, database: peewee.Database, values: tuple[Any, ...]) -> _Statement:
        if len(values) != len(self._arguments):
            raise ValueError(f"{self.__name__} takes {len(self._arguments)} arguments: {values!r}")
        nulls = tuple(map(is_, values, NONES))
        found = self._statements.get((type(database), nulls))
        if found is None:
            found, again = self._prepare(database, nulls), self._prepare(database, nulls)
            if found.constants != again.constants:
                raise ContractError(
                    f"{self.__name__} changes a value from call to call: make it an argument"
                )
            self._statements[type(database), nulls] = found
        return found

    def _prepare(self, database: peewee.Database, nulls: tuple[bool, ...]) -> _Statement:
        arguments = zip(self._arguments, nulls, strict=True)
        query = self.build(*[None if null else argument for argument, null in arguments])
        if isinstance(query, peewee.ModelInsert):
            if query._row_type is None:
                query = query.returning()  # the new key, which peewee asks for by itself
            defaults = {column: _late(d) for column, d in query.get_default_data().items()}
            query.get_default_data = lambda: defaults
        if isinstance(query, peewee.ModelSelect) and isinstance(database, peewee.SqliteDatabase):
            query = query.for_update(False)  # SQLite has one writer anyway
        sql, values = _Recorder(**database.get_context_options()).parse(query)
        constants = tuple(value for value in values if not isinstance(value, _Argument))
        names, place = [argument.name for argument in self._arguments], len(self._arguments)
        parameters: list[tuple[int, Convert, type | None]] = []
        for value in values:
            if isinstance(value, _Argument):
                convert = _of_values(value.convert)
                parameters.append((names.index(value.name), convert, _fitting(convert)))
            else:
                made = _Default.value if isinstance(value, _Default) else None
                parameters.append((place, made, None))
                place += 1
        returning = tuple(_of_column(column, database) for column in query._returning or ())
        rows = None if isinstance(database, peewee.SqliteDatabase) else _tuples
        return _Statement(sql, tuple(parameters), constants, returning, rows)


def prepared(build: Callable[..., Any]) -> Prepared:
    """Turn a function that returns a query into one that runs it.

    A column's default is made at each call, and `== None` is IS NULL, as peewee has it. All else
    that varies must be an argument: the first call raises `ContractError` where something else
    varies, or is a date or a time.
    """
    return Prepared(build)


def _tuples(_: Any) -> type[tuple[Any, ...]]:
    """Tell psycopg what to make of a row, as its own default does."""
    return tuple


def _of_values(convert: Convert) -> Convert:
    """Leave out what peewee does for NULL: with one among its values, a statement is another."""
    plain = getattr(convert, "__func__", None) is peewee.Field.db_value
    return convert.__self__.adapt if plain else convert  # type: ignore[union-attr]


def _fitting(convert: Convert) -> type | None:
    return FITTING.get(getattr(convert, "__func__", None))


def _of_column(column: Any, database: peewee.Database) -> Convert:
    """Leave out what peewee does for text, which is text already, but for what SQLite takes."""
    kind = type(column)
    is_text = issubclass(kind, (peewee.CharField, peewee.TextField))
    own = (peewee.TextField.adapt, peewee.TextField.python_value)
    if not is_text or (kind.adapt, kind.python_value) != own:
        return column.python_value  # type: ignore[no-any-return]
    return as_text if isinstance(database, peewee.SqliteDatabase) else None


def _late(default: Any) -> Any:
    """Put off a default that may be another one at the next call; one made by SQL is in the SQL."""
    if not callable(default):
        return _Default(lambda: default) if isinstance(default, (date, time)) else default
    return default if isinstance(default(), peewee.Node) else _Default(default)
