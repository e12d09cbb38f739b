"""What really happened to a saga, as a test in the language of `saga.runtime.testing`."""

import sys
from collections.abc import Iterator
from typing import Any

from ..message import Command, Message
from ..saga import Saga
from ..saga_state import SagaState, StepState
from .timeline import Attempt, Skip, Timeline

END = {
    "COMPLETED": "expect_completed",
    "COMPENSATED": "expect_compensated",
    "FAILED": "expect_failed",
}


def as_test(saga: Saga, state: SagaState, told: Timeline) -> str:
    """Write the test; it runs where the saga's declaration can be imported.

    Of a saga with steps that its declaration has not any more, there is none.
    """
    known = {step.name for step in saga.steps}
    if not {step.name for step in state.steps} <= known:
        return ""
    return _Writing(saga, state, told).text()


class _Writing:
    def __init__(self, saga: Saga, state: SagaState, told: Timeline) -> None:
        self._saga, self._state, self._told = saga, state, told
        self._used: dict[str, set[str]] = {}

    def text(self) -> str:
        lines = list(self._lines())
        start = self._call(self._saga.start, self._state.input)
        name = self._variable()
        imports = [
            f"from {module} import {', '.join(sorted(names))}"
            for module, names in sorted(self._used.items())
        ]
        imports.append("from saga.runtime.testing import given")
        title = "".join(c if c.isalnum() else "_" for c in self._saga.name)
        return "\n".join(
            [
                *sorted(imports),
                "",
                "",
                f"def test_{title}_{self._state.id[-12:]}() -> None:",
                f"    story = given({name}, {start})",
                *(f"    story.{line}" for line in lines),
                "",
            ]
        )

    def _variable(self) -> str:
        """Return the name of the saga's declaration, beside its start message as a rule."""
        module = sys.modules.get(self._saga.start.__module__)
        found = [name for name, value in vars(module or object).items() if value is self._saga]
        name = found[0] if found else "".join(c if c.isalnum() else "_" for c in self._saga.name)
        self._used.setdefault(self._saga.start.__module__, set()).add(name)
        return name

    def _lines(self) -> Iterator[str]:
        attempts, skips = self._told.attempts, list(self._told.skips)
        for index, attempt in enumerate(attempts, 1):
            while skips and skips[0].at <= attempt.began:
                yield self._skipped(skips.pop(0))
            if attempt.retried:
                yield "retry()"
            following = attempts[index] if index < len(attempts) else None
            yield from self._attempt(attempt, following)
        for skip in skips:
            yield self._skipped(skip)
        if self._state.status in END:
            code = self._code()
            yield f"{END[self._state.status]}({code!r})" if code else f"{END[self._state.status]}()"

    def _attempt(self, attempt: Attempt, following: Attempt | None) -> Iterator[str]:
        command = self._command(attempt)
        self._use(command)
        expected = "expect" if attempt.action == "do" else "expect_undo"
        for _ in range(attempt.resent):
            yield f"{expected}({command.__name__}).silence()"
        answer = self._answer(attempt, command)
        yield f"{expected}({command.__name__})" + (f".{answer}" if answer else "")
        if attempt.outcome == "failed":
            yield from self._after_fault(attempt, following)

    def _after_fault(self, attempt: Attempt, following: Attempt | None) -> Iterator[str]:
        """Let the back-off pass, or end otherwise."""
        if following is not None and not following.retried and _is_same(attempt, following):
            yield "silence()"
        elif attempt.action == "do" and attempt.backs_off and self._state.failure is not None:
            yield self._given_up(self._state.failure.code)

    def _answer(self, attempt: Attempt, command: type[Command]) -> str:
        step = self._step(attempt.step)
        message = self._message(step, attempt)
        match attempt.outcome:
            case "done" if attempt.action == "undo":
                return "reply()"
            case "done":
                return f"reply({self._call(command.event, {**self._state.given, **step.told})})"
            case "rejected":
                return f"reject({attempt.code!r}{message})"
            case "failed" if attempt.action == "undo" and self._is_refused(attempt):
                return f"reject({attempt.code!r}{message})"
            case "failed":
                return f"fail({message[2:] + ', ' if message else ''}code={attempt.code!r})"
            case "given up":
                return self._given_up(attempt.code)
        return ""

    def _given_up(self, code: str) -> str:
        return "cancel()" if code == "cancelled" else f"wait({self._saga.deadline!r})"

    def _is_refused(self, attempt: Attempt) -> bool:
        """Tell an undo that was refused from one whose attempts are used up."""
        if attempt.backs_off:
            return False
        same = [one for one in self._told.attempts if _is_same(one, attempt)]
        tried = 1
        for earlier in reversed(same[: attempt.number - 1]):
            if not earlier.backs_off:
                break
            tried += 1
        return not self._saga.step(attempt.step).undo_retry.exhausted(tried)

    def _skipped(self, skip: Skip) -> str:
        by, _, reason = skip.told.partition(": ")
        return f"skip({skip.step!r}, by={by!r}, reason={reason!r})"

    def _message(self, step: StepState, attempt: Attempt) -> str:
        """Return the message of the problem that ended an attempt, if it is still known."""
        failure = self._state.failure
        for problem in (step.error, failure):
            if problem is not None and problem.code == attempt.code and problem.message:
                return f", {problem.message!r}"
        return ""

    def _code(self) -> str:
        failed = [s.error.code for s in self._state.steps if s.status == "UNDO_FAILED" and s.error]
        if self._state.status == "FAILED":
            return failed[0] if failed else ""
        return self._state.failure.code if self._state.failure else ""

    def _step(self, name: str) -> StepState:
        return next(step for step in self._state.steps if step.name == name)

    def _command(self, attempt: Attempt) -> type[Command]:
        step = self._saga.step(attempt.step)
        return (step.undo if attempt.action == "undo" and step.undo else None) or step.command

    def _call(self, cls: type[Message], values: dict[str, Any]) -> str:
        self._use(cls)
        known = {name: values[name] for name in cls.model_fields if name in values}
        return f"{cls.__name__}({', '.join(f'{name}={value!r}' for name, value in known.items())})"

    def _use(self, cls: type[Message]) -> None:
        self._used.setdefault(cls.__module__, set()).add(cls.__name__)


def _is_same(one: Attempt, other: Attempt) -> bool:
    return (one.step, one.action) == (other.step, other.action)
