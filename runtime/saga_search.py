"""What a saga can be found by: the fields that its declaration names, one row each.

The runtime knows no order and no user; it knows that `place-order` is searched by `order_id`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import peewee

from .database.schema import Table
from .database.statements import write_many
from .saga import Saga
from .saga_state import SagaState

VALUE_LIMIT = 200  # characters; of a longer value the beginning is indexed, and looked for


class SearchRow(Table):
    """One value that one saga can be found by."""

    name = peewee.CharField()
    field = peewee.CharField()
    value = peewee.CharField(max_length=VALUE_LIMIT)
    saga_id = peewee.CharField(max_length=36)

    class Meta:
        """peewee's settings; the key is the index that finds a saga, in the order of ids."""

        table_name = "saga_search"
        primary_key = peewee.CompositeKey("name", "field", "value", "saga_id")


def add_values(database: peewee.Database, saga: Saga, states: Iterable[SagaState]) -> None:
    """Store what new sagas can be found by, in the caller's transaction."""
    rows = [
        (saga.name, field, _text(state.input[field]), state.id)
        for state in states
        for field in saga.search
        if state.input.get(field) is not None
    ]
    write_many(
        database, [SearchRow.name, SearchRow.field, SearchRow.value, SearchRow.saga_id], rows
    )


def matching(saga: Saga, values: Mapping[str, Any]) -> list[Any]:
    """Return subqueries, each of the ids of those sagas that have one of the values."""
    return [
        SearchRow.select(SearchRow.saga_id).where(
            SearchRow.name == saga.name,
            SearchRow.field == field,
            SearchRow.value == _text(value),
        )
        for field, value in values.items()
    ]


def _text(value: Any) -> str:
    return str(value)[:VALUE_LIMIT]
