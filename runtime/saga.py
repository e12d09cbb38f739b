"""A saga, declared as a list of steps (Garcia-Molina and Salem, "Sagas", SIGMOD 1987)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .clock import check_seconds
from .errors import ContractError
from .message import Command, Message
from .retry import Retry
from .sources import Sources
from .topic import check_topic


@dataclass(frozen=True, slots=True)
class Step:
    """One step: a command, the command that undoes it, and its policy.

    A command that is not answered within `timeout` seconds is sent again, each time after twice as
    long, at most 300 s or the `timeout` itself: a do until the saga's deadline, an undo for ever.
    An undo is tried more often than a do: giving it up leaves work for a person. `takes` says of
    fields whose command's answer they come from, where two events have one; the step's own is there
    for its undo. Raises `ContractError` for a time-out that is not above 0, or over a year.
    """

    command: type[Command]
    undo: type[Command] | None = None
    retry: Retry = field(default_factory=Retry)
    undo_retry: Retry = field(default_factory=lambda: Retry(attempts=10))
    timeout: float = 15.0  # seconds
    takes: Mapping[str, type[Command]] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        check_seconds(f"Step({self.command.__name__}): timeout", self.timeout)

    @property
    def name(self) -> str:
        """The step's name: its command's, as the function is called."""
        return self.command.step_name()


@dataclass(frozen=True, slots=True)
class Saga:
    """A saga's declaration: its start message, its steps in order, its deadline in seconds.

    `search` names those fields of the start message that a saga can be found by. Raises
    `ContractError` when the name is too long for a topic's, when the deadline is not above 0, or
    over a year, when a command has a field that nothing before it provides, or more than one step,
    when two steps have one name, or when the start message has no such field to search by.
    """

    name: str
    start: type[Message]
    steps: list[Step] = field(default_factory=list)
    deadline: float = 300.0  # seconds from the start; after it, what was done is undone
    search: Sequence[str] = ()
    # On which its host tells which sagas have ended, each whole, as JSON.
    ended_topic: str = field(init=False, repr=False, compare=False)
    _by_name: dict[str, Step] = field(init=False, repr=False, compare=False)
    sources: Sources = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {step.name: step for step in self.steps})
        topic = re.sub(r"[^a-zA-Z0-9._-]", "_", self.name) + ".ended"
        object.__setattr__(self, "ended_topic", topic)
        check_seconds(f"saga {self.name!r}: deadline", self.deadline)
        if not self.steps or len(self.steps) != len(self._by_name):
            raise ContractError(f"saga {self.name!r} needs steps, each with a name of its own")
        check_topic(f"saga {self.name!r}", self.ended_topic)
        if len(self.search) != len(set(self.search)):
            raise ContractError(f"saga {self.name!r} is searched twice by one field")
        if unknown := [name for name in self.search if name not in self.start.model_fields]:
            raise ContractError(
                f"saga {self.name!r} can't be searched by {', '.join(unknown)}: "
                f"{self.start.__name__} has no such field"
            )
        try:
            object.__setattr__(self, "sources", Sources(self.start, self.steps))
        except ContractError as error:
            raise ContractError(f"saga {self.name!r}: {error}") from None

    def step(self, name: str) -> Step:
        """Return the step of this name; raise `ContractError` where it was taken out."""
        try:
            return self._by_name[name]
        except KeyError:
            raise ContractError(f"saga {self.name!r} has no step {name!r} any more") from None

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
