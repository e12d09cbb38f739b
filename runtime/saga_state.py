"""How far a saga is: what its row holds, as JSON."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AliasChoices, AwareDatetime, ConfigDict, Field, GetPydanticSchema, TypeAdapter
from pydantic_core.core_schema import int_schema, str_schema, tuple_schema

from .problem import Problem

StoredStatus = Literal["RUNNING", "COMPLETED", "COMPENSATING", "COMPENSATED", "FAILED"]
# The last one is of a row that this version can't read: its state tells none.
SagaStatus = Literal[StoredStatus, "UNREADABLE"]
StepStatus = Literal[
    "PENDING", "RUNNING", "DONE", "REJECTED", "FAILED", "UNDOING", "UNDONE", "UNDO_FAILED"
]

# Times are seconds since 1970 in UTC, exact to the microsecond until the year 2096.
_CONFIG = ConfigDict(ser_json_temporal="seconds", val_temporal_unit="seconds")

SKIPPED = "skipped"  # the code of a step that a person has undone by hand

MOST_KEPT = 5_000  # sagas, of about 5 KB each
LARGEST_KEPT = 4_000  # characters of its row

IN_FLIGHT: dict[SagaStatus, StepStatus] = {"RUNNING": "RUNNING", "COMPENSATING": "UNDOING"}


# The microseconds and then words: quicker to check than that each is a number or a word.
_TRANSITION = GetPydanticSchema(
    lambda *_: tuple_schema([int_schema(), str_schema()], variadic_item_index=1)
)


def _stored_as(name: str, older: str) -> Any:
    return Field(validation_alias=AliasChoices(name, older), serialization_alias=name)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a saga compensates: the step, and the problem there, with a code of the API."""

    step: str
    code: str
    message: str
    public: bool = False


@dataclass(frozen=True)
class StepState:
    """How far one step is. `attempts` and `undo_attempts` count those that a fault has ended, too.

    `silences` counts how often the attempt in flight went unanswered, and was sent again as it is.
    `body` is that of its command, as long as it may be sent again: a default that is made by chance
    or from the time must not give one command two bodies.
    `undo_from` is how many of the undo's attempts there were when an operator's retry last began a
    round.
    """

    __pydantic_config__ = _CONFIG

    name: str
    status: StepStatus = "PENDING"
    attempts: int = 0
    undo_attempts: int = 0
    started_at: Annotated[AwareDatetime | None, _stored_as("began", "started_at")] = None
    finished_at: Annotated[AwareDatetime | None, _stored_as("ended", "finished_at")] = None
    error: Problem | None = None
    told: dict[str, Any] = field(default_factory=dict, hash=False)
    silences: int = 0
    body: str | None = None
    undo_from: int = 0


@dataclass(frozen=True)
class SagaState:
    """How far one saga is.

    `input` is the start message; what an event tells beyond it is with its step. `events` is what
    they have told to a saga of an earlier version, which did not note which step did. `history` is
    as `saga_history` writes it. `due_at` is when its host acts next, `awaiting` tells
    a sent command from a waited-out back-off, and `answered` is the last reply that was applied, as
    `STEP/ACTION PLACE`, where the place is that of its record.
    """

    __pydantic_config__ = _CONFIG

    id: str
    name: str
    status: Annotated[SagaStatus, GetPydanticSchema(lambda _, read: read(StoredStatus))]
    input: dict[str, Any]
    steps: tuple[StepState, ...]
    created_at: AwareDatetime
    updated_at: AwareDatetime
    deadline_at: AwareDatetime
    due_at: AwareDatetime | None = None
    failure: Failure | None = None
    awaiting: bool = False
    answered: str | None = None
    traceparent: str | None = None
    history: tuple[Annotated[tuple[int | str, ...], _TRANSITION], ...] = ()
    events: Annotated[dict[str, Any], _stored_as("events", "context")] = field(
        default_factory=dict, hash=False
    )

    @property
    def context(self) -> dict[str, Any]:
        """All that is known, by field name; what two steps have told, as the later one has."""
        told = dict(self.events)
        for step in self.steps:
            told |= step.told
        return {**told, **self.given}

    @property
    def given(self) -> dict[str, Any]:
        """What is known from the start, by field name."""
        return {**self.input, "saga_id": self.id}

    @property
    def in_flight(self) -> int | None:
        """The index of the step that is RUNNING or UNDOING; None once the saga has ended."""
        status = IN_FLIGHT.get(self.status)
        for index, step in enumerate(self.steps):
            if step.status == status:
                return index
        return None

    @property
    def ended(self) -> bool:
        """Whether nothing more happens by itself."""
        return self.status not in IN_FLIGHT


S = TypeVar("S", SagaState, StepState)


def altered(state: S, **changes: Any) -> S:
    """Copy a saga, or a step, with changes, as `dataclasses.replace` does in four times the time.

    Each message is five of them. Raises `AttributeError` for what is no field.
    """
    fields = vars(state)
    new = fields | changes
    if len(new) > len(fields):
        raise AttributeError(f"{type(state).__name__} has not all of {', '.join(changes)}")
    copy = object.__new__(type(state))
    object.__setattr__(copy, "__dict__", new)  # it is frozen
    return copy


_json = TypeAdapter(SagaState)


def to_json(state: SagaState) -> str:
    """Write a saga as its row holds it: without what is at its default."""
    return _json.serializer.to_json(state, by_alias=True, exclude_defaults=True).decode()


def from_json(text: str) -> SagaState:
    """Read what `to_json` has written; raise `pydantic.ValidationError` if it is something else."""
    return _json.validator.validate_json(text)  # type: ignore[no-any-return]


class Written:
    """Writes sagas, and reads them again, as `to_json` and `from_json` do; of one thread.

    Of those that go on it keeps the last, by their text: most often the next to ask for a saga is
    who wrote it, and to read it takes longer than all that a reply changes.
    """

    def __init__(self) -> None:
        self._kept: dict[str, SagaState] = {}

    def write(self, state: SagaState) -> str:
        """Write a saga as its row holds it."""
        text = to_json(state)
        if not state.ended and len(text) <= LARGEST_KEPT:
            self._kept[text] = state
            if len(self._kept) > MOST_KEPT:
                del self._kept[next(iter(self._kept))]
        return text

    def read(self, text: str) -> SagaState:
        """Read what a row holds; raise `pydantic.ValidationError` if it is something else."""
        # Most are written anew next, and not asked for again.
        return self._kept.pop(text, None) or from_json(text)
