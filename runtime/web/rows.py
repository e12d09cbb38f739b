"""Rows of one table as a REST API shows them: a page of them, one by id, one deleted."""

from collections.abc import Callable
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


def delete_row(
    table: type[Table], key: object, before: Callable[[Any], object] = lambda _: None
) -> None:
    """Delete one row; raise a 404 problem, or what `before` raises.

    `before` is given the row, locked, in the same transaction: it may refuse to have it deleted, or
    keep something of it.
    """
    database = table._meta.database
    with transaction(database):
        row = locked(table.select().where(table._meta.primary_key == key), database).first()
        if row is None:
            raise unknown_row(table, key)
        before(row)
        row.delete_instance()


def unknown_row(table: type[Table], key: object) -> NotFound:
    """Make the 404 problem of a key that no row has: `there is no user 7`."""
    return NotFound(f"there is no {table.__name__.lower()} {key}")
