"""A saga's story as text: what was sent and answered, when, and where it took another turn."""

from collections.abc import Mapping
from datetime import datetime
from operator import methodcaller
from typing import Any, NoReturn
from uuid import UUID

from pydantic import BaseModel

from ..envelope import Action
from ..message import Command
from ..problem import Problem
from ..saga_state import SagaState, StepState
from ..secret_fields import HIDDEN, is_secret

__tracebackhide__ = methodcaller("errisinstance", AssertionError)

INDENT = "    "
MARK = "  > "


class Account:
    """The lines of a story, in the order in which things happened."""

    def __init__(self, start: str) -> None:
        self._lines = [_line(0.0, "start", start)]

    def note(self, state: SagaState, moment: datetime, label: str, what: str) -> None:
        """Add what happened to a saga at a moment."""
        self._lines.append(_line(_seconds(state, moment), label, what))

    def told(self, state: SagaState, *more: str) -> str:
        """Tell the story so far, and where the saga stands."""
        story = [f"the story of {state.name}:", "", *self._lines, *more]
        return "\n".join([*story, "", f"{_standing(state)}:", "", *_steps(state)])

    def differs(self, state: SagaState, label: str, what: str, but: str) -> NoReturn:
        """Raise with the whole story, and the difference marked where it belongs in it."""
        marked = [_line(None, label, what), _line(None, "but", but)]
        title = f"{label} {what}".rstrip()
        raise AssertionError(f"{title}, but {but}\n\n{self.told(state, *marked)}")


def message(body: BaseModel) -> str:
    """Write a message with its fields, the UUIDs by their ends."""
    values = {
        name: HIDDEN if is_secret(info) else _short(getattr(body, name))
        for name, info in type(body).model_fields.items()
    }
    return _call(type(body).__name__, values)


def command(cls: type[Command], action: Action, fields: Mapping[str, Any] | None = None) -> str:
    """Write a command of which only the class is known, and some fields perhaps."""
    name = cls.__name__ if action == "do" else f"the undo {cls.__name__}"
    if not fields:
        return name
    return _call(name, {field: shown(value) for field, value in fields.items()})


def reason(problem: Problem) -> str:
    """Write a problem in one line."""
    return f"{problem.code}: {problem.message}" if problem.message else problem.code


def shown(value: object) -> str:
    """Write a value as it reads best; text keeps its quotes, so that '1' and 1 differ."""
    return repr(value) if isinstance(value, str) else str(value)


def wrong_fields(sent: Command, fields: dict[str, Any]) -> str:
    """Say which fields are not as given; nothing where all are."""
    wrong = []
    for name, value in fields.items():
        if name not in type(sent).model_fields:
            wrong.append(f"there is no field {name}")
        elif getattr(sent, name) != value:
            wrong.append(f"{name} is {shown(getattr(sent, name))}")
    return " and ".join(wrong)


def _short(value: object) -> str:
    return f"…{str(value)[-4:]}" if isinstance(value, UUID) else shown(value)


def _call(name: str, words: Mapping[str, str]) -> str:
    return f"{name}({', '.join(f'{field}={word}' for field, word in words.items())})"


def _line(at: float | None, label: str, what: str) -> str:
    """Lay out what happened, or without a time what should have happened."""
    time = f"{MARK}{'':10}" if at is None else f"{INDENT}{at:8.3f} s"
    return f"{time}  {label:<11}  {what}".rstrip()


def _standing(state: SagaState) -> str:
    text = f"it is {state.status}"
    if state.failure is not None:
        text += f", because of {state.failure.code} at {state.failure.step}"
    if state.due_at is not None:
        text += f", due at {_seconds(state, state.due_at):.3f} s"
    return text


def _steps(state: SagaState) -> list[str]:
    width = max(len(step.name) for step in state.steps)
    return [f"{INDENT}{step.name:<{width}}  {_progress(step)}" for step in state.steps]


def _progress(step: StepState) -> str:
    words: list[str] = [step.status]
    attempts = step.undo_attempts or step.attempts
    if attempts > 1:
        words.append(f"{attempts} {'undo ' if step.undo_attempts else ''}attempts")
    if step.error is not None:
        words.append(reason(step.error))
    return ", ".join(words)


def _seconds(state: SagaState, moment: datetime) -> float:
    """Return how long after a saga's start something is."""
    return (moment - state.created_at).total_seconds()
