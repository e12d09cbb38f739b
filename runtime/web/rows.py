"""Rows of one table as a REST API shows them: a page, one by id, one changed, one deleted."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import peewee
from pydantic import BaseModel
from sanic.exceptions import NotFound

from ..database.connection import locked, transaction
from ..database.schema import Table
from .paging import Page

S = TypeVar("S", bound=BaseModel)


def list_rows(
    table: type[Table], shape: type[S], asked: Page, *conditions: peewee.Expression
) -> list[S]:
    """List the rows of a page in the order of their keys, with one too many where there is more."""
    key = table._meta.primary_key
    found = table.select().where(*conditions) if conditions else table.select()
    if (after := getattr(asked, "after", None)) is not None:
        found = found.where(key > after)
    return [shape.model_validate(row) for row in found.order_by(key).limit(asked.limit + 1)]


def get_row(table: type[Table], shape: type[S], key: object) -> S:
    """Return one row; raise a 404 problem."""
    row = table.get_or_none(table._meta.primary_key == key)
    if row is None:
        raise unknown_row(table, key)
    return shape.model_validate(row)


def change_row(
    table: type[Table],
    shape: type[S],
    key: object,
    change: Mapping[str, Any],
    *before: Callable[[Any], object],
) -> S:
    """Change one row and return it; raise a 404 problem, or what one of `before` raises.

    They are given the row, locked, in the same transaction: they may refuse to have it changed.
    """
    this = table._meta.primary_key == key
    with _locked_row(table, key) as row:
        for each in before:
            each(row)
        [changed] = table.update(change).where(this).returning(table).execute()
    return shape.model_validate(changed)


def delete_row(table: type[Table], key: object, *before: Callable[[Any], object]) -> None:
    """Delete one row; raise a 404 problem, or what one of `before` raises.

    They are given the row, locked, in the same transaction: they may refuse to have it deleted, or
    keep something of it.
    """
    with _locked_row(table, key) as row:
        for each in before:
            each(row)
        row.delete_instance()


def unknown_row(table: type[Table], key: object) -> NotFound:
    """Make the 404 problem of a key that no row has: `there is no user 7`."""
    return NotFound(f"there is no {table.__name__.lower()} {key}")


@contextmanager
def _locked_row(table: type[Table], key: object) -> Iterator[Any]:
    database = table._meta.database
    with transaction(database):
        row = locked(table.select().where(table._meta.primary_key == key), database).first()
        if row is None:
            raise unknown_row(table, key)
        yield row
