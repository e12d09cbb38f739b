"""What a saga can be found by: the fields that its declaration names, one row each.

The runtime knows no order and no user; it knows that `place-order` is searched by `order_id`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import peewee

from .database.schema import Table
from .database.statements import prepared
from .saga import Saga
from .saga_rows import SagaRow
from .saga_state import SagaState

VALUE_LIMIT = 200  # characters; of a longer value the beginning is indexed, and looked for


class SearchRow(Table):
    """One value that one saga can be found by: `key` is `SAGA/FIELD/VALUE`.

    The table is its own index, in the order of keys and then of ids, so that a page of what is
    found is one read.
    """

    clustered = True

    key = peewee.TextField()
    saga_id = peewee.CharField(max_length=36)

    class Meta:
        """peewee's settings."""

        table_name = "saga_search"
        primary_key = peewee.CompositeKey("key", "saga_id")


def add_values(database: peewee.Database, saga: Saga, states: Iterable[SagaState]) -> None:
    """Store what new sagas can be found by, in the caller's transaction."""
    rows = [
        (_key(saga, field, value), state.id)
        for state in states
        for field in saga.search
        if (value := state.input.get(field)) is not None
    ]
    _insert.many(database, rows)


@prepared
def _insert(key: str, saga_id: str) -> Any:
    return SearchRow.insert(key=key, saga_id=saga_id)


def select_matching(
    saga: Saga, values: Mapping[str, Any], after: str | None, *, newest: bool
) -> Any:
    """Return the query for the ids beyond `after` of the sagas that have all the values, in order.

    It reads the search's table in its own order, and the sagas by their ids: they are the query's
    `SagaRow`, for further conditions.
    """
    first, *others = [SearchRow.alias() for _ in values]
    keys = [_key(saga, field, value) for field, value in values.items()]
    query = first.select(first.saga_id).where(first.key == keys[0])
    if after is not None:
        query = query.where(first.saga_id < after if newest else first.saga_id > after)
    for other, key in zip(others, keys[1:], strict=True):
        query = query.join(other, peewee.JOIN.CROSS)
        query = query.where(other.key == key, other.saga_id == first.saga_id)
    # Of all kinds of join, only this one lets SQLite keep the tables' order.
    query = query.join(SagaRow, peewee.JOIN.CROSS).where(SagaRow.id == first.saga_id)
    return query.order_by(first.saga_id.desc() if newest else first.saga_id)


def _key(saga: Saga, field: str, value: Any) -> str:
    # A NUL is text in JSON, and in no column of PostgreSQL.
    text = str(value)[:VALUE_LIMIT].replace("\0", "\ufffd")
    return f"{saga.name}/{field}/{text}"
