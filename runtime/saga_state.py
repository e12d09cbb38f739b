"""How far a saga is: what its row holds, as JSON."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import TypeAdapter

from .envelope import Problem

SagaStatus = Literal["RUNNING", "COMPLETED", "COMPENSATING", "COMPENSATED", "FAILED"]
StepStatus = Literal[
    "PENDING", "RUNNING", "DONE", "REJECTED", "FAILED", "UNDOING", "UNDONE", "UNDO_FAILED"
]

IN_FLIGHT: dict[SagaStatus, StepStatus] = {"RUNNING": "RUNNING", "COMPENSATING": "UNDOING"}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a saga compensates: the step, and a code of the API."""

    step: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class StepState:
    """How far one step is. `attempts` and `undo_attempts` count sendings."""

    name: str
    status: StepStatus = "PENDING"
    attempts: int = 0
    undo_attempts: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: Problem | None = None


@dataclass(frozen=True, slots=True)
class SagaState:
    """How far one saga is.

    `due_at` is when its host acts next, `awaiting` tells a sent command from a waited-out
    back-off, and `answered` is the last reply that was applied, as `STEP/ACTION`.
    """

    id: str
    name: str
    status: SagaStatus
    input: dict[str, Any]
    context: dict[str, Any]
    steps: tuple[StepState, ...]
    created_at: datetime
    updated_at: datetime
    deadline_at: datetime
    due_at: datetime | None = None
    failure: Failure | None = None
    awaiting: bool = False
    answered: str | None = None
    traceparent: str | None = None

    @property
    def in_flight(self) -> int | None:
        """The index of the step that is RUNNING or UNDOING; None once the saga has ended."""
        status = IN_FLIGHT.get(self.status)
        return next((i for i, step in enumerate(self.steps) if step.status == status), None)

    @property
    def ended(self) -> bool:
        """Whether nothing more happens by itself."""
        return self.status not in IN_FLIGHT


_json = TypeAdapter(SagaState)


def to_json(state: SagaState) -> str:
    """Write a saga as its row holds it."""
    return _json.dump_json(state).decode()


def from_json(text: str) -> SagaState:
    """Read what `to_json` has written; raise `pydantic.ValidationError` if it is something else."""
    return _json.validate_json(text)
