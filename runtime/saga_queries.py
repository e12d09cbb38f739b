"""Reading sagas: one by id, many, page by page, those that have ended.

A page costs as much among a million sagas as among ten: it is read from an index, in order. That a
row can't be read it tells only by itself: a look for such rows reads a bounded number of them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import peewee

from . import saga_guard
from .database.connection import snapshot
from .database.statements import one_of, prepared
from .errors import NotFound
from .saga import Saga
from .saga_rows import SagaRow
from .saga_search import Between, select_matching
from .saga_state import IN_FLIGHT, SagaState

CHUNK = 500  # ids in one statement
EVERYWHERE: Between = (None, None)
LOOKED_THROUGH = 2_000  # sagas that are found, of which few may have the status
READ_AT_ONCE = 500  # rows that are looked through, in 30 ms or so
ENDED_WELL = ("COMPLETED", "COMPENSATED")  # nobody waits for one that has


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
    ids: Between = EVERYWHERE,
) -> list[SagaState]:
    """List sagas by id, which is by age: the oldest or the newest first, from beyond `after` on.

    With `saga`, only sagas of that name, and of them those that have all values in `search`, whose
    fields the saga's declaration names, or are `FAILED_STEP` and `FAILED_CODE`. With `ids`, only
    those between these two, or beyond one of them. With `status`, those that are shown with it:
    to find those that are UNREADABLE, each that has not ended well is read. One that has, and can't
    be read any more, is in the list of all sagas alone.
    """
    found: list[SagaState] = []
    asked = partial(look, database, status=status, newest=newest, saga=saga, search=search, ids=ids)
    while len(found) < limit:
        more, after = asked(limit=limit - len(found), after=after)
        found += more
        if after is None:
            break
    return found


def look(
    database: peewee.Database,
    limit: int,
    after: str | None = None,
    status: str | None = None,
    *,
    newest: bool = False,
    saga: Saga | None = None,
    search: Mapping[str, Any] | None = None,
    ids: Between = EVERYWHERE,
) -> tuple[list[SagaState], str | None]:
    """Return the beginning of such a page, and the id beyond which to look on, if there is more.

    At most `READ_AT_ONCE` rows are read to find what is UNREADABLE, and so many in vain to find
    another status; of what a search finds, `LOOKED_THROUGH` are asked for theirs. What is returned
    may be short, or empty, though there is more.
    """
    above, below = ids
    found: list[SagaState] = []
    size = 0 if status == "UNREADABLE" else limit  # of these, nearly all are what is wanted
    left = size + READ_AT_ONCE
    while left and len(found) < limit:
        size = min(size or READ_AT_ONCE, left)
        if newest:
            below = _nearer(min, below, after)
        else:
            above = _nearer(max, above, after)
        some, more = _ids(
            database, size + 1, (above, below), status, newest=newest, saga=saga, search=search
        )
        states = find_many(database, some[:size])
        states.sort(key=lambda state: state.id, reverse=newest)
        found += [state for state in states if status in (None, state.status)]
        if len(found) > limit:
            return found[:limit], found[limit - 1].id
        if len(some) <= size:
            return found, more
        after, left, size = some[size - 1], left - size, 0
    return found, after


def _ids(
    database: peewee.Database,
    limit: int,
    ids: Between,
    status: str | None,
    *,
    newest: bool,
    saga: Saga | None,
    search: Mapping[str, Any] | None,
) -> tuple[list[str], str | None]:
    """List the ids of sagas whose rows may be of this status, in order.

    Where these are fewer than `limit`, the id is returned beyond which there may be more.
    """
    if saga is not None and search:
        query = select_matching(saga, search, ids, newest=newest).where(SagaRow.name == saga.name)
        if status is None:  # or else one that changes its status meanwhile would be missed
            return [saga_id for (saga_id,) in query.limit(limit).bind(database).tuples()], None
        statuses = _statuses(database, saga.name, status)
        query = query.select_extend(SagaRow.status).limit(LOOKED_THROUGH)
        rows = list(query.bind(database).tuples())
        some = [saga_id for saga_id, each in rows if each in statuses][:limit]
        return some, rows[-1][0] if len(rows) == LOOKED_THROUGH else None
    select = _select_newest if newest else _select_oldest
    # Of all statuses, one that changes its own meanwhile would be missed.
    with snapshot(database) if status is None else nullcontext():
        names = [saga.name] if saga is not None else _names(database)
        parts = [(name, each) for name in names for each in _statuses(database, name, status)]
        # One status of one name after another stands in the index: each part of it is in order.
        found = [row[0] for part in parts for row in select.on(database, *part, *ids, limit)]
    return sorted(found, reverse=newest)[:limit], None


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


def _nearer(which: Callable[[str, str], str], limit: str | None, after: str | None) -> str | None:
    """Return the one of two limits that leaves less."""
    return which(limit, after) if limit and after else limit or after


def _names(database: peewee.Database) -> list[str]:
    """Return the names that there are, each found by a look into the index."""
    return _rising(lambda name: _select_next_name.on(database, name))


def _statuses(database: peewee.Database, name: str, status: str | None) -> list[str]:
    """Return which statuses the rows of this name may have; a newer version may know more of them.

    The columns of what has not been set aside yet say what they said when it could be read.
    """
    if status not in (None, "UNREADABLE"):
        return [str(status)]
    there = _rising(lambda last: _select_next_status.on(database, name, last))
    return [each for each in there if status is None or each not in ENDED_WELL]


def _rising(beyond: Callable[[str], list[tuple[str]]]) -> list[str]:
    """List what there is, each found beyond the last one; what SQLite has as bytes always is."""
    there = [""]
    while (found := beyond(there[-1])) and found[0][0] > there[-1]:
        there += found[0]
    return there[1:]


@prepared
def _select_by_id(saga_ids: Iterable[str]) -> Any:
    found = SagaRow.select(SagaRow.id, SagaRow.name, SagaRow.state, SagaRow.status)
    return found.where(one_of(SagaRow.id, saga_ids))


@prepared
def _select_ended(saga_ids: Iterable[str]) -> Any:
    found = SagaRow.select(SagaRow.id).where(one_of(SagaRow.id, saga_ids))
    return found.where(SagaRow.status.not_in(list(IN_FLIGHT)))


@prepared
def _select_oldest(name: str, status: str, above: str | None, below: str | None, limit: int) -> Any:
    return _select(name, status, above, below).order_by(SagaRow.id).limit(limit)


@prepared
def _select_newest(name: str, status: str, above: str | None, below: str | None, limit: int) -> Any:
    return _select(name, status, above, below).order_by(SagaRow.id.desc()).limit(limit)


def _select(name: str, status: str, above: str | None, below: str | None) -> Any:
    found = SagaRow.select(SagaRow.id).where(SagaRow.name == name, SagaRow.status == status)
    if above is not None:
        found = found.where(SagaRow.id > above)
    return found if below is None else found.where(SagaRow.id < below)


@prepared
def _select_next_name(after: str) -> Any:
    return SagaRow.select(SagaRow.name).where(SagaRow.name > after).order_by(SagaRow.name).limit(1)


@prepared
def _select_next_status(name: str, after: str) -> Any:
    found = SagaRow.select(SagaRow.status).where(SagaRow.name == name, SagaRow.status > after)
    return found.order_by(SagaRow.status).limit(1)
