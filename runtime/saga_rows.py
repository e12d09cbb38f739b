"""The table of sagas, and the statements on it."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import peewee

from .database.columns import Instant
from .database.schema import Table
from .database.statements import one_of, prepared


class SagaRow(Table):
    """One saga. `state` holds it whole, as JSON; the other columns are there to be asked for.

    `due_at` is null where the saga has ended, else not later than that of the state: a saga on its
    way is not indexed anew at each step, and one whose command is `unsent` has a mark there.
    """

    id = peewee.CharField(max_length=36, primary_key=True)
    name = peewee.CharField()
    status = peewee.CharField(max_length=12)
    due_at = Instant(null=True)
    idempotency_key = peewee.CharField(null=True)
    request_hash = peewee.CharField(max_length=64, null=True)
    state = peewee.TextField()

    class Meta:
        """peewee's settings."""

        table_name = "saga"
        indexes = ((("name", "status", "id"), False),)


# Only of rows that are in them: most sagas have ended, and many have no key.
SagaRow.add_index(SagaRow.name, SagaRow.due_at, where=SagaRow.due_at.is_null(False))
SagaRow.add_index(
    SagaRow.idempotency_key, unique=True, where=SagaRow.idempotency_key.is_null(False)
)


@prepared
def insert(
    saga_id: str,
    status: str,
    due_at: datetime,
    state: str,
    name: str,
    key: str | None,
    request_hash: str | None,
) -> Any:
    """Store a new saga."""
    return SagaRow.insert(
        id=saga_id,
        name=name,
        status=status,
        due_at=due_at,
        idempotency_key=key,
        request_hash=request_hash,
        state=state,
    )


@prepared
def update(saga_id: str, status: str, due_at: datetime | None, state: str) -> Any:
    """Store a changed saga, all of it."""
    changes = {"status": status, "due_at": due_at, "state": state}
    return SagaRow.update(changes).where(SagaRow.id == saga_id)


@prepared
def update_state(saga_id: str, state: str) -> Any:
    """Store a saga of which the state alone has changed."""
    return SagaRow.update(state=state).where(SagaRow.id == saga_id)


@prepared
def mark(saga_id: str, status: str, due_at: datetime | None) -> Any:
    """Change what is asked of a saga, and leave its state as it is."""
    return SagaRow.update(status=status, due_at=due_at).where(SagaRow.id == saga_id)


@prepared
def select_locked(saga_ids: Iterable[str]) -> Any:
    """Select sagas, in the order of their ids: so two transactions can't wait for each other."""
    found = SagaRow.select(SagaRow.id, SagaRow.name, SagaRow.state, SagaRow.status)
    return found.where(one_of(SagaRow.id, saga_ids)).order_by(SagaRow.id).for_update()


@prepared
def select_taken(keys: Iterable[str]) -> Any:
    """Select the sagas that were started with these keys."""
    row = SagaRow
    found = row.select(
        row.idempotency_key, row.request_hash, row.id, row.name, row.state, row.status
    )
    return found.where(one_of(SagaRow.idempotency_key, keys))


@prepared
def select_one_due(name: str, now: datetime) -> Any:
    """Select a saga that may be due, if there is one."""
    due = SagaRow.select(SagaRow.due_at).where(SagaRow.name == name, SagaRow.due_at <= now)
    return due.limit(1)


@prepared
def select_due(name: str, now: datetime, limit: int) -> Any:
    """Select sagas that nobody else acts on meanwhile."""
    due = SagaRow.select(SagaRow.id, SagaRow.state, SagaRow.due_at)
    due = due.where(SagaRow.name == name, SagaRow.due_at <= now)
    return due.order_by(SagaRow.due_at).limit(limit).for_update("FOR UPDATE SKIP LOCKED")


@prepared
def select_due_at(saga_ids: Iterable[str], due_at: datetime) -> Any:
    """Select those of the sagas that are due at this very moment, in the order of their ids."""
    found = SagaRow.select(SagaRow.id, SagaRow.name, SagaRow.state, SagaRow.status)
    found = found.where(one_of(SagaRow.id, saga_ids), SagaRow.due_at == due_at)
    return found.order_by(SagaRow.id).for_update()


@prepared
def set_due(saga_ids: Iterable[str], due_at: datetime) -> Any:
    """Say when sagas are due, and leave all else as it is."""
    return SagaRow.update(due_at=due_at).where(one_of(SagaRow.id, saga_ids))
