"""The test language: a saga's story, told move by move, with what is expected in between.

It moves the saga by its pure transitions alone: there is no broker, no database and no waiting.
"""

from datetime import UTC, datetime, timedelta
from itertools import count
from operator import methodcaller
from typing import Any, NoReturn

from .. import body, intervention, transition
from ..envelope import Action, Envelope, Outcome, Reply, read_command_id
from ..errors import ContractError
from ..message import Command, Event, Message
from ..problem import Problem
from ..saga import Saga
from ..saga_state import Failure, SagaState, SagaStatus
from ..transition import Transition
from . import story_text as text
from .story_text import Account

# Pytest shows the test's line that failed, not the kit's.
__tracebackhide__ = methodcaller("errisinstance", AssertionError)

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
SAGA_ID = "00000000-0000-0000-0000-000000000001"


def given(
    saga: Saga, start: Message, *, at: datetime = NEW_YEAR, saga_id: str = SAGA_ID
) -> "Story":
    """Begin the story of a saga with its start message."""
    if not isinstance(start, saga.start):
        raise ContractError(f"{saga.name} starts from {saga.start.__name__}, not from {start!r}")
    return Story(saga, start, at, saga_id)


class Story:
    """One saga. Every method is one move or one expectation, and returns the story.

    An expectation that does not hold raises `AssertionError` with the whole story so far.
    `sent` holds all commands so far, as they travel. `now` is the story's time; it moves with
    `silence` and `wait` only.
    """

    def __init__(self, saga: Saga, start: Message, at: datetime, saga_id: str) -> None:
        self.now = at
        self._saga = saga
        self._account = Account(text.message(start))
        self.sent: list[Envelope] = []
        self._unexpected: list[Envelope] = []  # sent by the last move
        self._offsets = count()
        self._last_reply: tuple[Reply, str] | None = None
        self.state: SagaState
        self._move(transition.start(saga, saga_id, start, at))

    def __str__(self) -> str:
        """Tell the story so far."""
        return self._account.told(self.state)

    def expect(self, command: type[Command], **fields: Any) -> "Story":
        """Expect that the last move sent this command, with these fields among others."""
        return self._expect_command("do", command, fields)

    def expect_undo(self, command: type[Command], **fields: Any) -> "Story":
        """Expect that the last move sent this command as an undo."""
        return self._expect_command("undo", command, fields)

    def expect_undos(self, *commands: type[Command]) -> "Story":
        """Expect these undos one after another, and answer each one as done."""
        for command in commands:
            self.expect_undo(command).reply()
        return self

    def expect_nothing(self) -> "Story":
        """Expect that the last move sent no command."""
        if self._unexpected:
            sent = text.command(*self._declaration(self._unexpected[0]))
            self._differs("expected", "nothing", f"{sent} was sent")
        return self

    def expect_completed(self) -> "Story":
        """Expect that the saga has reached its end."""
        return self._expect_end("COMPLETED", None, None)

    def expect_compensated(self, code: str | None = None) -> "Story":
        """Expect that all is undone, because of the problem with this code."""
        return self._expect_end("COMPENSATED", code, self.state.failure)

    def expect_failed(self, code: str | None = None) -> "Story":
        """Expect that an undo has failed for good, with this code."""
        failed = [s.error for s in self.state.steps if s.status == "UNDO_FAILED" and s.error]
        failed.sort(key=lambda error: error.code != code)
        return self._expect_end("FAILED", code, next(iter(failed), None))

    def reply(self, event: Event | None = None, *, to: type[Command] | None = None) -> "Story":
        """Answer with an event; that of an undo may be left out.

        The command in flight is answered, or the last one sent of the class `to`.
        """
        what = "nothing" if event is None else text.message(event)
        command = self._find("replied", what, to)
        expected, action = self._declaration(command)
        if not isinstance(event, expected.event) and (event is not None or action == "do"):
            answer = expected.event.__name__
            self._differs("replied", what, f"{command.type} is answered by {answer}")
        if event is None:
            return self._answer(command, "done", "{}", f"{command.type} is done")
        return self._answer(command, "done", body.write(event), what)

    def reject(self, code: str, message: str = "", *, to: type[Command] | None = None) -> "Story":
        """Answer with a business "no"."""
        return self._refuse("rejected", Problem(code=code, message=message), to)

    def fail(
        self,
        message: str = "",
        *,
        code: str = "Fault",
        times: int = 1,
        to: type[Command] | None = None,
    ) -> "Story":
        """Answer with a fault, `times` attempts one after another, the back-offs in between."""
        for number in range(times):
            if number:
                self.silence()
            self._refuse("failed", Problem(code=code, message=message), to)
        return self

    def duplicate(self) -> "Story":
        """Deliver the last reply's record once more; `to=` makes another copy of a reply."""
        if self._last_reply is None:
            self._differs("duplicate", "of the last reply", "there was none")
        reply, what = self._last_reply
        return self._receive(reply, f"{what}, once more")

    def silence(self, *, times: int = 1) -> "Story":
        """Let nothing come until the saga is due: its back-off, time-out or deadline."""
        for _ in range(times):
            if self.state.due_at is None:
                self._differs("silence", "", f"the saga is {self.state.status} and not due")
            self._pass_time(self.state.due_at)
        return self

    def wait(self, seconds: float) -> "Story":
        """Let time pass; what is due meanwhile happens when it is due."""
        end = self.now + timedelta(seconds=seconds)
        self._unexpected = []
        while self.state.due_at is not None and self.state.due_at <= end:
            self._pass_time(self.state.due_at)
        if self.now < end:
            self.now = end
            self._note("silence")
        return self

    def cancel(self) -> "Story":
        """Cancel the saga; raises `Conflict` when it has ended."""
        change = intervention.cancel(self._saga, self.state, self.now)
        self._note("cancel")
        return self._move(change)

    def retry(self) -> "Story":
        """Retry the undos of a failed saga; raises `Conflict` when it has not failed."""
        change = intervention.retry(self._saga, self.state, self.now)
        self._note("retry")
        return self._move(change)

    def skip(self, step: str, by: str = "somebody", reason: str = "done by hand") -> "Story":
        """Record that a person has done a step's failed undo; raises `Conflict` if none failed."""
        change = intervention.skip(self._saga, self.state, step, by, reason, self.now)
        self._note("skip", f"{step}, by {by}: {reason}")
        return self._move(change)

    def _expect_command(
        self, action: Action, expected: type[Command], fields: dict[str, Any]
    ) -> "Story":
        what = text.command(expected, action, fields)
        if not self._unexpected:
            self._differs("expected", what, "nothing was sent")
        command = self._unexpected.pop(0)
        sent, sent_action = self._declaration(command)
        if (sent, sent_action) != (expected, action):
            self._differs("expected", what, f"{text.command(sent, sent_action)} was sent")
        if wrong := text.wrong_fields(body.read(expected, command.data), fields):
            self._differs("expected", what, wrong)
        return self

    def _expect_end(
        self, status: SagaStatus, code: str | None, reason: Failure | Problem | None
    ) -> "Story":
        what = f"the saga to be {status}" + (f" because of {code}" if code else "")
        if self.state.status != status:
            self._differs("expected", what, f"it is {self.state.status}")
        if code is not None and (reason is None or reason.code != code):
            self._differs("expected", what, f"it is so because of {reason and reason.code}")
        return self

    def _find(self, label: str, what: str, to: type[Command] | None) -> Envelope:
        """Return the command to be answered: the last one sent is the one in flight."""
        if to is None and self.state.ended:
            self._differs(label, what, f"the saga is {self.state.status} and awaits no answer")
        found = [c for c in self.sent if to is None or c.type == to.__name__]
        if not found:
            missing = "a command" if to is None else to.__name__
            self._differs(label, what, f"{missing} was never sent")
        return found[-1]

    def _declaration(self, command: Envelope) -> tuple[type[Command], Action]:
        _, name, action = read_command_id(command.id)
        step = self._saga.step(name)
        return (step.undo if action == "undo" and step.undo else step.command), action

    def _refuse(self, outcome: Outcome, problem: Problem, to: type[Command] | None) -> "Story":
        command = self._find(outcome, f"with {problem.code}", to)
        why = f"{command.type}: {text.reason(problem)}"
        return self._answer(command, outcome, problem.model_dump_json(), why)

    def _answer(self, command: Envelope, outcome: Outcome, data: str, what: str) -> "Story":
        saga_id, step, action = read_command_id(command.id)
        place = f"replies[0]@{next(self._offsets)}"
        reply = Reply(saga_id, step, action, outcome, command.attempt, data, place)
        self._last_reply = reply, what
        return self._receive(reply, what)

    def _receive(self, reply: Reply, what: str) -> "Story":
        change = transition.on_reply(self._saga, self.state, reply, self.now)
        ignored = change[0] is self.state and not change[1]
        self._note(f"<- {reply.outcome}", f"{what}, which changes nothing" if ignored else what)
        return self._move(change)

    def _pass_time(self, moment: datetime) -> None:
        self.now = max(self.now, moment)
        self._note("silence")
        self._move(transition.on_due(self._saga, self.state, self.now))

    def _move(self, change: Transition) -> "Story":
        self.state, self._unexpected = change[0], list(change[1])
        self.sent += change[1]
        for command in change[1]:
            sent, action = self._declaration(command)
            self._note(f"-> {action}", text.message(body.read(sent, command.data)))
        return self

    def _note(self, label: str, what: str = "") -> None:
        self._account.note(self.state, self.now, label, what)

    def _differs(self, label: str, what: str, but: str) -> NoReturn:
        self._account.differs(self.state, label, what, but)
