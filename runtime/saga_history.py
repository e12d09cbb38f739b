"""A saga's history: a row per transition, with what it changed in words."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

import peewee

from .database.columns import Instant
from .database.schema import Table
from .database.statements import prepared
from .saga_state import IN_FLIGHT, SagaState, StepState

Change = tuple[SagaState | None, SagaState]  # before, None where the saga is new, and after


class HistoryRow(Table):
    """One transition of a saga: when, and what changed."""

    saga_id = peewee.CharField(max_length=36, index=True)
    at = Instant()
    status = peewee.CharField(max_length=12)
    changes = peewee.TextField()

    class Meta:
        """peewee's settings."""

        table_name = "saga_history"


def add_history(database: peewee.Database, changes: Sequence[Change]) -> None:
    """Store what transitions have changed, in the caller's transaction."""
    told = [(new, words(old, new)) for old, new in changes]
    rows = [(new.id, new.updated_at, new.status, changed) for new, changed in told if changed]
    _insert.many(database, rows)


@prepared
def _insert(saga_id: str, at: datetime, status: str, changes: str) -> Any:
    return HistoryRow.insert(saga_id=saga_id, at=at, status=status, changes=changes)


def history(database: peewee.Database, saga_id: str) -> list[HistoryRow]:
    """Return a saga's transitions, oldest first."""
    query = HistoryRow.select().where(HistoryRow.saga_id == saga_id).order_by(HistoryRow.id)
    return cast(list[HistoryRow], list(query.bind(database)))


def words(old: SagaState | None, new: SagaState) -> str:
    """Say what a transition changed: `create_order DONE, reserve_product RUNNING`."""
    before = old.steps if old else (None,) * len(new.steps)
    changed = [step for was, step in zip(before, new.steps, strict=True) if step != was]
    # What ended comes before what was begun because of it.
    changed.sort(key=lambda step: step.status in IN_FLIGHT.values())
    return ", ".join(_word(step) for step in changed if step.status != "PENDING")


def _word(step: StepState) -> str:
    return f"{step.name} {step.status}" + (f" ({step.error.code})" if step.error else "")
