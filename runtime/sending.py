"""The sending of a saga's command: what is sent, and how long its answer is waited for."""

from datetime import datetime

from . import body
from .envelope import BODY_LIMIT, Action, Envelope, message_id
from .errors import ContractError, Rejected
from .message import Command
from .problem import INVALID_COMMAND
from .saga import Saga, Step
from .saga_state import SagaState, StepState

COMMAND_TOO_LARGE = "command_too_large"  # the code of one that is over the limit
UNMADE = frozenset({INVALID_COMMAND, COMMAND_TOO_LARGE})  # the codes where there is none to send
LONGEST_WAIT = 300.0  # seconds for an answer, where a step's own time-out is no longer


def command(saga: Saga, state: SagaState, step: StepState, data: str, now: datetime) -> Envelope:
    """Put the body of a step's command into its envelope."""
    action: Action = "do" if step.status == "RUNNING" else "undo"
    cls = command_class(saga.step(step.name), action)
    return Envelope(
        topic=cls.topic,
        id=message_id(state.id, step.name, action),
        type=cls.__name__,
        source=f"/saga/{saga.name}",
        time=now.isoformat(),
        data=data,
        attempt=step.attempts if action == "do" else step.undo_attempts,
        traceparent=state.traceparent,
    )


def make_body(saga: Saga, state: SagaState, step: str, action: Action) -> str:
    """Build a command's body from what the saga knows, by field name.

    Raises `pydantic.ValidationError` where that is not what the command wants, and `Rejected` where
    it is too large for a broker.
    """
    cls = command_class(saga.step(step), action)
    made = body.write(body.made_of(cls, saga.sources.values(state, step, action)))
    if len(made) > BODY_LIMIT:
        raise Rejected(COMMAND_TOO_LARGE, f"{len(made)} characters of {BODY_LIMIT}")
    return made


def command_class(step: Step, action: Action) -> type[Command]:
    """Return what a step sends; raise `ContractError` for an undo that it has not any more."""
    cls = step.command if action == "do" else step.undo
    if cls is None:
        raise ContractError(f"step {step.name} has no undo any more")
    return cls


def time_to_answer(step: Step, silences: int) -> float:
    """Return the seconds until an attempt's command is sent again: twice as many each time.

    A service that is away should neither cost a saga its work nor be flooded when it is back.
    """
    return min(step.timeout * 2.0 ** min(silences, 16), max(LONGEST_WAIT, step.timeout))
