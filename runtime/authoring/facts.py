"""What is known of a system of functions, with its places in the files that say so."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..function import Function
from ..message import Command, Message
from ..saga import Saga, Step
from ..saga_host import HostedSaga

Level = Literal["error", "warning"]


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that is wrong, or that may be: a warning keeps nobody from deploying."""

    path: Path
    line: int
    level: Level
    text: str


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file."""

    path: Path
    line: int = 1

    def error(self, text: str) -> Finding:
        """Find an error here."""
        return Finding(self.path, self.line, "error", text)

    def warning(self, text: str) -> Finding:
        """Find something odd here."""
        return Finding(self.path, self.line, "warning", text)


@dataclass(frozen=True, slots=True)
class Deployed:
    """A function as a stack deploys it: its stack entry's name and place, and its handler's."""

    function: Function
    service: str
    database: str
    name: str
    entry: Place
    handler: Place


@dataclass(frozen=True, slots=True)
class PlacedSaga:
    """A saga as a stack hosts it, and the lines of it and of its steps, by their names."""

    hosted: HostedSaga
    service: str
    entry: Place
    place: Place
    steps: dict[str, Place] = field(default_factory=dict)

    @property
    def saga(self) -> Saga:
        """The declaration."""
        return self.hosted.saga

    def step(self, step: Step) -> Place:
        """Return a step's line, or the saga's where that is not known."""
        return self.steps.get(step.name, self.place)


@dataclass(frozen=True, slots=True)
class Facts:
    """A system as its stack files and modules declare it.

    `messages` has the classes of all that travels, each with its place.
    `broken` names the functions and sagas that could not be imported; with `sagas_known` unset,
    sagas may be among them. What they would have said is not held against the others.
    """

    functions: Sequence[Deployed] = ()
    sagas: Sequence[PlacedSaga] = ()
    messages: Mapping[type[Message], Place] = field(default_factory=dict)
    findings: Sequence[Finding] = ()
    broken: frozenset[str] = frozenset()
    sagas_known: bool = True

    def commands(self) -> Iterator[tuple[Deployed, type[Command]]]:
        """List the functions that answer commands, with the command."""
        return ((f, f.function.command) for f in self.functions if f.function.command)

    def handles(self, command: type[Command]) -> Deployed | None:
        """Return the function that answers a command; a worker knows it by topic and class name."""
        wanted = (command.topic, command.__name__)
        found = (f for f, c in self.commands() if (c.topic, c.__name__) == wanted)
        return next(found, None)
