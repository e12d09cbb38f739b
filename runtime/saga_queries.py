"""Reading sagas: one by id, many, page by page, those that have ended."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import peewee

from .errors import NotFound
from .saga import Saga
from .saga_rows import SagaRow
from .saga_search import matching
from .saga_state import IN_FLIGHT, SagaState, from_json

CHUNK = 500  # ids in one statement


def find(database: peewee.Database, saga_id: str) -> SagaState:
    """Return a saga; raise `NotFound`."""
    query = SagaRow.select(SagaRow.state).where(SagaRow.id == saga_id)
    row = query.bind(database).tuples().first()
    if row is None:
        raise NotFound(f"no saga {saga_id}")
    return from_json(row[0])


def find_many(database: peewee.Database, saga_ids: Sequence[str]) -> list[SagaState]:
    """Return those of the sagas that are here."""
    query = SagaRow.select(SagaRow.state).bind(database)
    return [
        from_json(text)
        for chunk in peewee.chunked(saga_ids, CHUNK)
        for (text,) in query.where(SagaRow.id.in_(chunk)).tuples()
    ]


def page(
    database: peewee.Database,
    limit: int,
    after: str | None = None,
    status: str | None = None,
    *,
    newest: bool = False,
    saga: Saga | None = None,
    search: Mapping[str, Any] | None = None,
) -> list[SagaState]:
    """List sagas by id, which is by age: oldest first after the id `after`, or the newest first.

    With `saga`, only sagas of that name, and of them those that have all values in `search`, whose
    fields the saga's declaration names.
    """
    query = SagaRow.select(SagaRow.state)
    if after is not None:
        query = query.where(SagaRow.id > after)
    if status is not None:
        query = query.where(SagaRow.status == status)
    if saga is not None:
        query = query.where(SagaRow.name == saga.name)
        for found in matching(saga, search or {}):
            query = query.where(SagaRow.id.in_(found))
    query = query.order_by(SagaRow.id.desc() if newest else SagaRow.id).limit(limit)
    return [from_json(text) for (text,) in query.bind(database).tuples()]


def ended(database: peewee.Database, saga_ids: Iterable[str]) -> set[str]:
    """Return those of the ids whose sagas have ended."""
    query = SagaRow.select(SagaRow.id).where(SagaRow.status.not_in(list(IN_FLIGHT)))
    return {
        saga_id
        for chunk in peewee.chunked(saga_ids, CHUNK)
        for (saga_id,) in query.bind(database).where(SagaRow.id.in_(chunk)).tuples()
    }
