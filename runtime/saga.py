"""A saga, declared as a list of steps (Garcia-Molina and Salem, "Sagas", SIGMOD 1987)."""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from .errors import ContractError
from .message import Command, Message

# A saga's own ids, in its context beside the start message's fields.
BUILT_IN_FIELDS = frozenset({"saga_id"})


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a command is sent, and how long to wait between the sendings.

    The wait before sending n+1 is `first * factor ** (n - 1)` seconds, at most `longest`, of which
    up to half is taken off at random, so that sagas that failed together don't return together.
    """

    attempts: int = 5
    first: float = 0.2  # seconds
    factor: float = 2.0
    longest: float = 30.0  # seconds

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.first < 0 or self.factor < 1 or self.longest < 0:
            raise ContractError(f"{self} needs attempts and a factor of at least 1, waits of 0 s")

    def delay(self, attempt: int, seed: str) -> float:
        """Return the seconds to wait after a failed `attempt`, the same for the same seed."""
        try:
            whole = min(self.longest, self.first * self.factor ** (attempt - 1))
        except OverflowError:  # far beyond `longest`
            whole = self.longest
        jitter = zlib.crc32(f"{seed}/{attempt}".encode()) / 0xFFFF_FFFF
        return whole * (1 - jitter / 2)

    def exhausted(self, attempt: int) -> bool:
        """Tell whether `attempt`, counted from 1, was the last one of its round."""
        return attempt >= self.attempts


@dataclass(frozen=True, slots=True)
class Step:
    """One step: a command, the command that undoes it, and its policy.

    A command that is not answered within `timeout` seconds counts as failed. An undo is tried more
    often than a do: giving it up leaves work for a person.
    """

    command: type[Command]
    undo: type[Command] | None = None
    retry: Retry = Retry()
    undo_retry: Retry = Retry(attempts=10)
    timeout: float = 15.0  # seconds

    @property
    def name(self) -> str:
        """The step's name: its command's, as the function is called."""
        return self.command.step_name()


@dataclass(frozen=True, slots=True)
class Saga:
    """A saga's declaration: its start message, its steps in order, its deadline in seconds.

    `search` names those fields of the start message that a saga can be found by. Raises
    `ContractError` when a command has a field that nothing before it provides, when two steps have
    one name, or when the start message has no such field to search by.
    """

    name: str
    start: type[Message]
    steps: list[Step] = field(default_factory=list)
    deadline: float = 300.0  # seconds from the start; after it, what was done is undone
    search: Sequence[str] = ()
    _by_name: dict[str, Step] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {step.name: step for step in self.steps})
        if not self.steps or len(self.steps) != len(self._by_name):
            raise ContractError(f"saga {self.name!r} needs steps, each with a name of its own")
        if len(self.search) != len(set(self.search)):
            raise ContractError(f"saga {self.name!r} is searched twice by one field")
        if unknown := [name for name in self.search if name not in self.start.model_fields]:
            raise ContractError(
                f"saga {self.name!r} can't be searched by {', '.join(unknown)}: "
                f"{self.start.__name__} has no such field"
            )
        known = BUILT_IN_FIELDS | set(self.start.model_fields)
        for step in self.steps:
            # An undo may be sent before its step has answered, so it can't use the answer.
            for command in filter(None, (step.command, step.undo)):
                self._check_fields(command, known)
            known |= set(step.command.event.model_fields)

    def _check_fields(self, command: type[Command], known: frozenset[str] | set[str]) -> None:
        needed = {n for n, info in command.model_fields.items() if info.is_required()}
        if missing := sorted(needed - known):
            raise ContractError(
                f"saga {self.name!r}: {command.__name__} needs {', '.join(missing)}, "
                "which neither the start message nor an earlier event provides"
            )

    def step(self, name: str) -> Step:
        """Return the step of this name; raise `ContractError` where it was taken out."""
        try:
            return self._by_name[name]
        except KeyError:
            raise ContractError(f"saga {self.name!r} has no step {name!r} any more") from None

    @property
    def ended_topic(self) -> str:
        """The topic on which its host tells which sagas have ended, each whole, as JSON."""
        return re.sub(r"[^a-zA-Z0-9._-]", "_", self.name) + ".ended"

    @property
    def reply_topics(self) -> list[str]:
        """The topics on which the steps and their undos answer."""
        return sorted({command.event.topic for command in self._commands})

    @property
    def told_topics(self) -> list[str]:
        """The topics to which its host sends: those of its commands, and that of its ends."""
        return sorted({self.ended_topic, *(command.topic for command in self._commands)})

    @property
    def _commands(self) -> list[type[Command]]:
        return [c for step in self.steps for c in (step.command, step.undo) if c is not None]
