"""What is wrong with one saga holds up none of the others: a row, or a change that raises."""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import peewee
from pydantic import AwareDatetime, TypeAdapter, ValidationError
from pydantic_core import from_json as json_value

from . import saga_changes, saga_rows, transition
from .clock import EPOCH
from .errors import ContractError, first_line
from .message import Message, reasons
from .saga import Saga
from .saga_history import recorded
from .saga_state import Failure, SagaState, from_json
from .transition import Transition

log = logging.getLogger(__name__)

UNKNOWN = EPOCH  # when a row that can't be read was written
AGAIN = "was set aside, and can be read again: a retry takes it up"

Parse = Callable[[str], SagaState]

_instant = TypeAdapter(AwareDatetime)


def begin(
    saga: Saga, saga_id: str, message: Message, now: datetime, traceparent: str | None
) -> Transition | Exception:
    """Begin a saga, or return what its message raises, whose own code may write it down."""
    try:
        state, commands = transition.start(saga, saga_id, message, now, traceparent)
    except transition.MENDABLE:
        raise
    except Exception as error:
        return error
    return recorded(None, state), commands


def read(
    saga_id: str, name: str, text: str, status: str = "", parse: Parse = from_json
) -> SagaState:
    """Read a saga from its row; one that can't be read is UNREADABLE, and its failure says why.

    `status` is the row's: one that was set aside as UNREADABLE is so until somebody retries it.
    """
    try:
        state = parse(text)
    except ValidationError as error:
        return _unreadable(saga_id, name, text, f"can't be read: {reasons(error, 'row')[0]}")
    if (state.id, state.name) != (saga_id, name):
        other = f"can't be read: its row has the state of {state.name} {state.id}"
        return _unreadable(saga_id, name, text, other)
    if status == "UNREADABLE":
        failure = Failure("", "unreadable", AGAIN, public=True)
        return replace(state, status="UNREADABLE", due_at=None, failure=failure)
    return state


def apply(
    saga: Saga, state: SagaState, change: Callable[[SagaState], Transition], now: datetime
) -> Transition:
    """Change a saga; one whose change raises an error is given up.

    One that no longer fits its declaration stays as it is. The database's errors are everybody's.
    """
    try:
        try:
            return change(state)
        except transition.MENDABLE:
            raise
        except Exception as error:
            _log_error(state.id, "is given up: %s", first_line(error))
            return transition.break_off(saga, state, error, now)
    except ContractError as error:
        _log_error(state.id, "stays %s: %s", state.status, error)
        return state, []


def load(
    database: peewee.Database,
    saga: Saga,
    saga_ids: set[str],
    now: datetime,
    parse: Parse = from_json,
) -> dict[str, SagaState]:
    """Read and lock sagas, in the caller's transaction; one that is UNREADABLE is set aside."""
    states = {}
    for saga_id, name, text, status in saga_rows.select_locked.on(database, saga_ids):
        if name == saga.name:
            states[saga_id] = state = read(saga_id, name, text, status, parse)
            if state.status == "UNREADABLE" and status != "UNREADABLE":
                set_aside(database, state, now)
    return states


def set_aside(database: peewee.Database, state: SagaState, now: datetime) -> None:
    """Mark the row of an UNREADABLE saga as such, in the caller's transaction."""
    _log_error(state.id, "%s", state.failure and state.failure.message)
    saga_rows.mark.on(database, state.id, state.status, None)
    saga_changes.note_status(database, state, now)


def take_up(database: peewee.Database, saga: Saga, saga_id: str, now: datetime) -> SagaState | None:
    """Let a saga that was set aside go on where it is, in the caller's transaction.

    Returns None where there is none such that can be read, or where it has failed: it is left to
    its retry.
    """
    for key, name, text, status in saga_rows.select_locked.on(database, [saga_id]):
        state = read(key, name, text)
        if (name, status) == (saga.name, "UNREADABLE") and state.status != "UNREADABLE":
            saga_rows.mark.on(database, saga_id, state.status, now if state.due_at else None)
            saga_changes.note_status(database, state, now)
            return None if state.status == "FAILED" else state
    return None


def _log_error(saga_id: str, told: str, *words: object) -> None:
    log.error(f"saga %s {told}", saga_id, *words, extra={"saga_id": saga_id})


def _unreadable(saga_id: str, name: str, text: str, why: str) -> SagaState:
    """Save of a row what a list shows: what the saga was started with, and when."""
    row = _fields(text)
    began, begun_with = _time(row, "created_at"), row.get("input")
    return SagaState(
        id=saga_id,
        name=name,
        status="UNREADABLE",
        input=begun_with if isinstance(begun_with, dict) else {},
        steps=(),
        created_at=began,
        updated_at=_time(row, "updated_at"),
        deadline_at=began,
        failure=Failure("", "unreadable", why),
    )


def _fields(text: str) -> dict[str, Any]:
    try:
        row = json_value(text)
    except ValueError:
        return {}
    return row if isinstance(row, dict) else {}


def _time(row: dict[str, Any], name: str) -> datetime:
    try:
        return _instant.validate_python(row.get(name))
    except ValidationError:
        return UNKNOWN
