"""How far a saga is: what its row holds, as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AliasChoices,
    ConfigDict,
    Field,
    GetPydanticSchema,
    TypeAdapter,
    ValidationError,
)
from typing_extensions import TypedDict

from .envelope import Problem

StoredStatus = Literal["RUNNING", "COMPLETED", "COMPENSATING", "COMPENSATED", "FAILED"]
# The last one is of a row that this version can't read: its state tells none.
SagaStatus = Literal[StoredStatus, "UNREADABLE"]
StepStatus = Literal[
    "PENDING", "RUNNING", "DONE", "REJECTED", "FAILED", "UNDOING", "UNDONE", "UNDO_FAILED"
]

# Times are seconds since 1970 in UTC, exact to the microsecond until the year 2096.
_CONFIG = ConfigDict(ser_json_temporal="seconds", val_temporal_unit="seconds")

SKIPPED = "skipped"  # the code of a step that a person has undone by hand

IN_FLIGHT: dict[SagaStatus, StepStatus] = {"RUNNING": "RUNNING", "COMPENSATING": "UNDOING"}


def _stored_as(name: str, older: str) -> Any:
    return Field(validation_alias=AliasChoices(name, older), serialization_alias=name)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a saga compensates: the step, and a code of the API."""

    step: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class StepState:
    """How far one step is.

    `attempts` and `undo_attempts` count sendings. `undo_from` is how many of the undo's there were
    when an operator's retry last began a round.
    """

    __pydantic_config__ = _CONFIG

    name: str
    status: StepStatus = "PENDING"
    attempts: int = 0
    undo_attempts: int = 0
    started_at: Annotated[datetime | None, _stored_as("began", "started_at")] = None
    finished_at: Annotated[datetime | None, _stored_as("ended", "finished_at")] = None
    error: Problem | None = None
    undo_from: int = 0


@dataclass(frozen=True, slots=True)
class SagaState:
    """How far one saga is.

    `events` is what the steps' events have told beyond the `input`, which is the start message;
    `history` is as `saga_history` writes it. `due_at` is when its host acts next, `awaiting` tells
    a sent command from a waited-out back-off, and `answered` is the last reply that was applied, as
    `STEP/ACTION`.
    """

    __pydantic_config__ = _CONFIG

    id: str
    name: str
    status: Annotated[SagaStatus, GetPydanticSchema(lambda _, read: read(StoredStatus))]
    input: dict[str, Any]
    events: dict[str, Any]
    steps: tuple[StepState, ...]
    created_at: datetime
    updated_at: datetime
    deadline_at: datetime
    due_at: datetime | None = None
    failure: Failure | None = None
    awaiting: bool = False
    answered: str | None = None
    traceparent: str | None = None
    history: tuple[tuple[int | str, ...], ...] = ()

    @property
    def context(self) -> dict[str, Any]:
        """What commands are made from, by field name."""
        return {**self.input, "saga_id": self.id, **self.events}

    @property
    def in_flight(self) -> int | None:
        """The index of the step that is RUNNING or UNDOING; None once the saga has ended."""
        status = IN_FLIGHT.get(self.status)
        return next((i for i, step in enumerate(self.steps) if step.status == status), None)

    @property
    def ended(self) -> bool:
        """Whether nothing more happens by itself."""
        return self.status not in IN_FLIGHT


class _Older(TypedDict):
    """A row of version 0.1, which held the start message twice."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    id: str
    input: dict[str, Any]
    context: dict[str, Any]


_json = TypeAdapter(SagaState)
_older = TypeAdapter(_Older)


def to_json(state: SagaState) -> str:
    """Write a saga as its row holds it: without what is at its default."""
    return _json.serializer.to_json(state, by_alias=True, exclude_defaults=True).decode()


def from_json(text: str) -> SagaState:
    """Read what `to_json` has written; raise `pydantic.ValidationError` if it is something else."""
    try:
        return _json.validator.validate_json(text)  # type: ignore[no-any-return]
    except ValidationError as error:
        try:
            older: dict[str, Any] = {**_older.validate_json(text)}
        except ValidationError:
            raise error from None
    known, context = {**older["input"], "saga_id": older["id"]}, older.pop("context")
    return _json.validate_python({**older, "events": differing(context, known)})


def differing(values: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the values that are not known already."""
    return {
        name: value for name, value in values.items() if name not in known or known[name] != value
    }
