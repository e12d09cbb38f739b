"""How a database carries out what some code asks of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import peewee
import pytest

FEW = 200  # rows

Asked = list[tuple[str, Any]]


class _Recording:
    """A cursor that remembers what it is asked."""

    def __init__(self, cursor: Any, asked: Asked) -> None:
        self._cursor, self._asked = cursor, asked

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._cursor)

    def execute(self, sql: str, parameters: Any = ()) -> Any:
        self._asked.append((sql, parameters))
        self._cursor.execute(sql, parameters)
        return self

    def executemany(self, sql: str, rows: Any) -> None:
        self._asked += [(sql, row) for row in rows[:1]]
        self._cursor.executemany(sql, rows)


@contextmanager
def recorded(database: peewee.Database) -> Iterator[Asked]:
    """Remember in a block what the database is asked."""
    asked: Asked = []
    cursor = database.cursor
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "cursor", lambda *a: _Recording(cursor(*a), asked))
        yield asked


def count_rows(database: peewee.Database) -> None:
    """Let PostgreSQL know how many rows of which kind there are, as in time it does by itself."""
    if isinstance(database, peewee.PostgresqlDatabase):
        database.execute_sql("ANALYZE")


def slow_plans(database: peewee.Database, call: Callable[[], object]) -> list[str]:
    """Say which steps of the statements in a call sort many rows, or read a whole table or index.

    There should be thousands of rows, and `count_rows` called since.
    """
    return [step for step in plans(database, call) if _slow(step)]


def plans(database: peewee.Database, call: Callable[[], object]) -> list[str]:
    """List the steps of the plans of all statements in a call."""
    with recorded(database) as asked:
        call()
    queries = [(sql, p) for sql, p in asked if sql.split()[0] in ("SELECT", "UPDATE", "DELETE")]
    assert queries
    return [step for sql, p in queries for step in _steps(database, sql, p)]


def _steps(database: peewee.Database, sql: str, parameters: Any) -> list[str]:
    if isinstance(database, peewee.SqliteDatabase):
        return [step for *_, step in database.execute_sql(f"EXPLAIN QUERY PLAN {sql}", parameters)]
    [([plan],)] = database.execute_sql(f"EXPLAIN (FORMAT JSON) {sql}", parameters)
    return list(_nodes(plan["Plan"]))


def _nodes(node: dict[str, Any]) -> Iterator[str]:
    # PostgreSQL may well prefer to sort what it expects to be few.
    if node["Node Type"] != "Sort" or node["Plan Rows"] > FEW:
        yield node["Node Type"]
    for below in node.get("Plans", ()):
        yield from _nodes(below)


def _slow(step: str) -> bool:
    if "VIRTUAL TABLE" in step:  # the keys that were given
        return False
    return step.startswith("SCAN") or "TEMP B-TREE" in step or step in ("Seq Scan", "Sort")
