"""Sagas in the orchestrator's database: one row each, and a history row per transition.

The row is the truth about a saga. Whatever the broker loses, the sweeper sends again from here.
"""

import hashlib
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, cast

import peewee
from pydantic import TypeAdapter, ValidationError

from . import transition
from .database.connection import Instant, Table, read_many, transaction, write_many
from .errors import Conflict, ContractError, NotFound
from .message import Envelope, Message, Reply
from .saga import Saga
from .transition import SagaState, Transition

log = logging.getLogger(__name__)

CHUNK = 500  # ids in one statement
SWEEP_LIMIT = 500  # sagas acted on in one transaction

_state = TypeAdapter(SagaState)


class SagaRow(Table):
    """One saga. `state` holds it whole, as JSON; the other columns are there to be asked for."""

    id = peewee.CharField(max_length=36, primary_key=True)
    name = peewee.CharField()
    status = peewee.CharField(max_length=12, index=True)
    due_at = Instant(null=True, index=True)
    idempotency_key = peewee.CharField(null=True, unique=True)
    request_hash = peewee.CharField(max_length=64, null=True)
    state = peewee.TextField()

    class Meta:
        """peewee's settings."""

        table_name = "saga"


class HistoryRow(Table):
    """One transition of a saga: when, and what changed."""

    saga_id = peewee.CharField(max_length=36, index=True)
    at = Instant()
    status = peewee.CharField(max_length=12)
    changes = peewee.TextField()

    class Meta:
        """peewee's settings."""

        table_name = "saga_history"


TABLES: list[type[Table]] = [SagaRow, HistoryRow]


@dataclass(frozen=True, slots=True)
class Start:
    """A saga to be started.

    `fingerprint` is what makes two requests with one `idempotency_key` the same.
    """

    saga_id: str
    message: Message
    idempotency_key: str | None = None
    fingerprint: str = ""
    traceparent: str | None = None

    @property
    def request_hash(self) -> str | None:
        """The fingerprint's hash, where there is a key to keep it with."""
        if self.idempotency_key is None:
            return None
        return hashlib.sha256(self.fingerprint.encode()).hexdigest()


def start(saga: Saga, requests: Sequence[Start], now: datetime) -> list[Transition | Conflict]:
    """Store new sagas in one transaction; return each with the command that the caller sends.

    When an idempotency key was used before with the same fingerprint, the saga of that time is
    returned, with no command; with another fingerprint, a `Conflict` is returned in its place.
    """
    database = SagaRow._meta.database
    try:
        with transaction(database):
            return _start(saga, requests, now)
    except peewee.IntegrityError:
        # Another process took one of the keys while we did; now its row is there to be found.
        with transaction(database):
            return _start(saga, requests, now)


def _start(saga: Saga, requests: Sequence[Start], now: datetime) -> list[Transition | Conflict]:
    taken = _taken_keys(requests)
    results: list[Transition | Conflict] = []
    rows, fresh = [], []
    for request in requests:
        key, request_hash = request.idempotency_key, request.request_hash
        if key is not None and key in taken:
            earlier_hash, earlier = taken[key]
            conflict = Conflict(f"Idempotency-Key {key!r} was used with another body")
            results.append((earlier, []) if earlier_hash == request_hash else conflict)
            continue
        state, commands = transition.start(
            saga, request.saga_id, request.message, now, request.traceparent
        )
        results.append((state, commands))
        rows.append((*_columns(state), key, request_hash))
        fresh.append((None, state))
        if key is not None:
            taken[key] = (request_hash, state)
    write_many([*_saved_fields(), SagaRow.idempotency_key, SagaRow.request_hash], rows)
    _add_history(fresh)
    return results


def _taken_keys(requests: Sequence[Start]) -> dict[str, tuple[str | None, SagaState]]:
    keys = [request.idempotency_key for request in requests if request.idempotency_key is not None]
    if not keys:
        return {}
    query = SagaRow.select(SagaRow.idempotency_key, SagaRow.request_hash, SagaRow.state)
    found = query.where(SagaRow.idempotency_key.in_(keys)).tuples()
    return {key: (request_hash, _state.validate_json(text)) for key, request_hash, text in found}


def advance(saga: Saga, replies: Sequence[Reply], now: datetime) -> list[Envelope]:
    """Apply replies to their sagas, in the caller's transaction; return the commands to send.

    A reply to a saga that is not here is passed over: its command came from somebody else.
    """
    before = _load(saga, {reply.saga_id for reply in replies})
    after, commands = dict(before), []
    for reply in replies:
        if state := after.get(reply.saga_id):
            after[reply.saga_id], more = _apply(
                state, partial(transition.on_reply, saga, reply=reply, now=now)
            )
            commands += more
    _save([(before[i], state) for i, state in after.items() if state is not before[i]])
    return commands


def sweep(saga: Saga, now: datetime) -> list[Envelope]:
    """Act on the sagas that are due, in the caller's transaction; return the commands to send."""
    due = SagaRow.select(SagaRow.state).where(SagaRow.name == saga.name, SagaRow.due_at <= now)
    query = due.order_by(SagaRow.due_at).limit(SWEEP_LIMIT)
    database = SagaRow._meta.database
    if not isinstance(database, peewee.SqliteDatabase):
        query = query.for_update("FOR UPDATE SKIP LOCKED")
    changed, commands = [], []
    for (text,) in query.tuples():
        state = _state.validate_json(text)
        new, more = _apply(state, partial(transition.on_due, saga, now=now))
        # One that can't be helped is looked at later, and makes room for the others.
        later = replace(state, due_at=now + timedelta(minutes=1))
        changed.append((state, later if new is state else new))
        commands += more
    _save(changed)
    return commands


def cancel(saga: Saga, saga_id: str, now: datetime) -> Transition:
    """Cancel a saga; raise `NotFound`, or `Conflict` when it has ended."""
    return _change(saga, saga_id, lambda state: transition.cancel(saga, state, now))


def retry(saga: Saga, saga_id: str, now: datetime) -> Transition:
    """Retry a failed saga's undo; raise `NotFound`, or `Conflict` when it has not failed."""
    return _change(saga, saga_id, lambda state: transition.retry(saga, state, now))


def find(saga_id: str) -> SagaState:
    """Return a saga; raise `NotFound`."""
    row = SagaRow.select(SagaRow.state).where(SagaRow.id == saga_id).tuples().first()
    if row is None:
        raise NotFound(f"no saga {saga_id}")
    return _state.validate_json(row[0])


def dump(state: SagaState) -> str:
    """Return a saga as JSON, as its row holds it."""
    return _state.dump_json(state).decode()


def find_many(saga_ids: Sequence[str]) -> list[SagaState]:
    """Return those of the sagas that are here."""
    query = SagaRow.select(SagaRow.state)
    return [
        _state.validate_json(text)
        for chunk in peewee.chunked(saga_ids, CHUNK)
        for (text,) in query.where(SagaRow.id.in_(chunk)).tuples()
    ]


def page(
    limit: int, after: str | None = None, status: str | None = None, *, newest: bool = False
) -> list[SagaState]:
    """List sagas by id, which is by age: oldest first after the id `after`, or the newest first."""
    query = SagaRow.select(SagaRow.state)
    if after is not None:
        query = query.where(SagaRow.id > after)
    if status is not None:
        query = query.where(SagaRow.status == status)
    order = SagaRow.id.desc() if newest else SagaRow.id
    return [_state.validate_json(text) for (text,) in query.order_by(order).limit(limit).tuples()]


def ended(saga_ids: Iterable[str]) -> set[str]:
    """Return those of the ids whose sagas have ended."""
    query = SagaRow.select(SagaRow.id).where(SagaRow.status.not_in(list(transition.IN_FLIGHT)))
    return {
        saga_id
        for chunk in peewee.chunked(saga_ids, CHUNK)
        for (saga_id,) in query.where(SagaRow.id.in_(chunk)).tuples()
    }


def history(saga_id: str) -> list[HistoryRow]:
    """Return a saga's transitions, oldest first."""
    query = HistoryRow.select().where(HistoryRow.saga_id == saga_id).order_by(HistoryRow.id)
    return cast(list[HistoryRow], list(query))


def _change(saga: Saga, saga_id: str, change: Callable[[SagaState], Transition]) -> Transition:
    with transaction(SagaRow._meta.database):
        state = _load(saga, {saga_id}).get(saga_id)
        if state is None:
            raise NotFound(f"no saga {saga_id}")
        new, commands = change(state)
        _save([(state, new)] if new is not state else [])
    return new, commands


def _apply(state: SagaState, change: Callable[[SagaState], Transition]) -> Transition:
    """Change a saga; one that no longer fits its declaration stays as it is, and holds up none."""
    try:
        return change(state)
    except (ContractError, ValidationError) as error:
        log.error("saga %s stays %s: %s", state.id, state.status, error)
        return state, []


def _load(saga: Saga, saga_ids: set[str]) -> dict[str, SagaState]:
    # Locked in the order of their ids, so that two transactions can't wait for each other.
    found = read_many([SagaRow.id, SagaRow.name, SagaRow.state], saga_ids, lock=True)
    return {key: _state.validate_json(text) for key, name, text in found if name == saga.name}


def _save(changes: Sequence[tuple[SagaState, SagaState]]) -> None:
    update = [SagaRow.status, SagaRow.due_at, SagaRow.state]
    write_many(_saved_fields(), [_columns(state) for _, state in changes], update=update)
    _add_history(changes)


def _saved_fields() -> list[Any]:
    return [SagaRow.id, SagaRow.name, SagaRow.status, SagaRow.due_at, SagaRow.state]


def _columns(state: SagaState) -> tuple[Any, ...]:
    return state.id, state.name, state.status, state.due_at, dump(state)


def _add_history(changes: Sequence[tuple[SagaState | None, SagaState]]) -> None:
    fields = [HistoryRow.saga_id, HistoryRow.at, HistoryRow.status, HistoryRow.changes]
    rows = [(new.id, new.updated_at, new.status, _difference(old, new)) for old, new in changes]
    write_many(fields, rows)


def _difference(old: SagaState | None, new: SagaState) -> str:
    """Say in words what a transition changed: `create_order DONE, reserve_product RUNNING`."""
    before = old.steps if old else (None,) * len(new.steps)
    changed = [step for was, step in zip(before, new.steps, strict=True) if step != was]
    # What ended comes before what was begun because of it.
    changed.sort(key=lambda step: step.status in transition.IN_FLIGHT.values())
    return ", ".join(
        f"{step.name} {step.status}" + (f" ({step.error.code})" if step.error else "")
        for step in changed
        if step.status != "PENDING"
    )
