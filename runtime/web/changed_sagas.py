"""What becomes of sagas, as events of a stream tell it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from pydantic import BaseModel

from ..saga_changes import Change, Place
from ..saga_history import Moment
from ..saga_state import SKIPPED, SagaState


class ChangedStep(BaseModel):
    """What became of one step, and the code of the error that it has since."""

    name: str
    status: str
    code: str | None


class ChangedSaga(BaseModel):
    """One entry of a saga's history, the `index`th: when it was, and what has changed.

    It is none where the saga was set aside as UNREADABLE, or taken up again.
    """

    saga_id: str
    name: str
    index: int | None
    status: str
    at: datetime
    steps: list[ChangedStep]


class SagaEvent(BaseModel):
    """An event of a stream. One that has no `data` only tells the `id` of where the stream begins.

    The `data` of an event `saga` is a JSON object: `saga_id`, `name`, `index` (of the entry in the
    saga's history, or null where it has none as it was set aside as UNREADABLE, or taken up again),
    `status`, `at`, and `steps`, those that changed, each with its `name`,
    `status`, and the `code` of its error, or null. An event `reset` says that not all is kept that
    came after the last event that was seen: what is known of sagas has to be read anew.
    """

    event: Literal["saga", "reset"] = "saga"
    id: str = ""
    retry: int = 1000
    data: str = ""


class Told(NamedTuple):
    """A change as streams tell it."""

    place: Place
    change: ChangedSaga
    data: str

    def is_of(self, saga_id: str) -> bool:
        """Tell whether this saga has changed."""
        return self.change.saga_id == saga_id

    def event(self, event_id: object) -> str:
        """Write it as an event."""
        told = "" if event_id is None else f"id: {event_id}\n"
        return f"event: saga\n{told}data: {self.data}\n\n"


def told_of(change: Change, state: SagaState, moments: Sequence[Moment]) -> list[Told]:
    """Return a change as it is told; none where the saga's history can't be read."""
    if change.entry is None:
        return [standing(change.place, state, change.status, change.at)]
    index = len(moments) - len(state.history) + change.entry  # behind what version 0.1 has stored
    if not 0 <= index < len(moments):
        return []
    return [shown(change.place, state, index, moments[index])]


def shown(place: Place, state: SagaState, index: int, moment: Moment) -> Told:
    """Tell an entry of a saga's history."""
    steps = [
        ChangedStep(name=one.name, status=one.status, code=_code(one.code)) for one in moment.steps
    ]
    change = ChangedSaga(
        saga_id=state.id,
        name=state.name,
        index=index,
        status=moment.status,
        at=moment.at,
        steps=steps,
    )
    return Told(place, change, change.model_dump_json())


def standing(place: Place, state: SagaState, status: str, at: datetime) -> Told:
    """Tell how a saga stands, which no entry of its history tells."""
    change = ChangedSaga(
        saga_id=state.id, name=state.name, index=None, status=status, at=at, steps=[]
    )
    return Told(place, change, change.model_dump_json())


def _code(told: str) -> str | None:
    """Return the code alone where a person's words stand behind it."""
    return SKIPPED if told.startswith(f"{SKIPPED}: ") else told or None
