"""Reading sagas: one by id, many, page by page, those that have ended.

A page costs as much among a million sagas as among ten: it is read from an index, in order.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

import peewee

from . import saga_guard
from .database.statements import one_of, prepared
from .errors import NotFound
from .saga import Saga
from .saga_rows import SagaRow
from .saga_search import select_matching
from .saga_state import IN_FLIGHT, SagaState, SagaStatus

CHUNK = 500  # ids in one statement


def find(database: peewee.Database, saga_id: str) -> SagaState:
    """Return a saga, UNREADABLE where its row can't be read; raise `NotFound`."""
    for row in _select_by_id.on(database, [saga_id]):
        return saga_guard.read(*row)
    raise NotFound(f"no saga {saga_id}")


def find_many(database: peewee.Database, saga_ids: Sequence[str]) -> list[SagaState]:
    """Return those of the sagas that are here."""
    return [
        saga_guard.read(*row)
        for chunk in peewee.chunked(saga_ids, CHUNK)
        for row in _select_by_id.on(database, chunk)
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
    names = [saga.name] if saga is not None else _names(database)
    statuses = [status] if status is not None else get_args(SagaStatus)
    if saga is not None and search:
        query = select_matching(saga, search, after or "", newest=newest)
        query = query.where(SagaRow.name == saga.name, SagaRow.status.in_(statuses)).limit(limit)
        saga_ids = [saga_id for (saga_id,) in query.bind(database).tuples()]
    else:
        select = _select_newest if newest else _select_oldest
        # One status of one name after another stands in the index: each part of it is in order.
        parts = [(name, each, after or "", limit) for name in names for each in statuses]
        found = [saga_id for part in parts for (saga_id,) in select.on(database, *part)]
        saga_ids = sorted(found, reverse=newest)[:limit]
    return sorted(find_many(database, saga_ids), key=lambda state: state.id, reverse=newest)


def ended(database: peewee.Database, saga_ids: Iterable[str]) -> set[str]:
    """Return those of the ids whose sagas have ended."""
    return {
        saga_id
        for chunk in peewee.chunked(saga_ids, CHUNK)
        for (saga_id,) in _select_ended.on(database, chunk)
    }


def in_flight(database: peewee.Database, saga: Saga, most: int) -> int:
    """Count the sagas of a declaration that have not ended, up to `most`."""
    found = SagaRow.select(SagaRow.due_at).where(SagaRow.name == saga.name)
    query = found.where(SagaRow.due_at.is_null(False)).limit(most)
    return int(query.bind(database).count())


def _names(database: peewee.Database) -> list[str]:
    """Return the names that there are, each found by a look into the index."""
    names = [""]
    while found := _select_next_name.on(database, names[-1]):
        names += found[0]
    return names[1:]


@prepared
def _select_by_id(saga_ids: Iterable[str]) -> Any:
    found = SagaRow.select(SagaRow.id, SagaRow.name, SagaRow.state, SagaRow.status)
    return found.where(one_of(SagaRow.id, saga_ids))


@prepared
def _select_ended(saga_ids: Iterable[str]) -> Any:
    found = SagaRow.select(SagaRow.id).where(one_of(SagaRow.id, saga_ids))
    return found.where(SagaRow.status.not_in(list(IN_FLIGHT)))


@prepared
def _select_oldest(name: str, status: str, after: str, limit: int) -> Any:
    return _select(name, status, after).order_by(SagaRow.id).limit(limit)


@prepared
def _select_newest(name: str, status: str, after: str, limit: int) -> Any:
    return _select(name, status, after).order_by(SagaRow.id.desc()).limit(limit)


def _select(name: str, status: str, after: str) -> Any:
    found = SagaRow.select(SagaRow.id).where(SagaRow.name == name, SagaRow.status == status)
    return found.where(SagaRow.id > after)


@prepared
def _select_next_name(after: str) -> Any:
    return SagaRow.select(SagaRow.name).where(SagaRow.name > after).order_by(SagaRow.name).limit(1)
