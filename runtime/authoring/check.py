"""What is wrong with a system of functions, told before anything is deployed.

`check` is pure: facts in, findings out. `survey` reads the facts off stack files and modules, and
finds there what has to be right before anything else can be: files that can't be read.
"""

import inspect
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from ..function import Function
from ..message import Command, Envelope, Reply
from ..saga import Saga, Step

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
    """A saga, and the lines of it and of its steps, by their names."""

    saga: Saga
    place: Place
    steps: dict[str, Place] = field(default_factory=dict)

    def step(self, step: Step) -> Place:
        """Return a step's line, or the saga's where that is not known."""
        return self.steps.get(step.name, self.place)


@dataclass(frozen=True, slots=True)
class Facts:
    """A system as its stack files and modules declare it.

    `broken` names the functions that could not be imported; with `sagas_known` unset, sagas may be
    among what was lost with them. What they would have said is not held against the others.
    """

    functions: Sequence[Deployed] = ()
    sagas: Sequence[PlacedSaga] = ()
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


def check(facts: Facts) -> list[Finding]:
    """Return what is wrong with a system, by file and line."""
    rules = (
        _names,
        _annotations,
        _consumer_groups,
        _topics,
        _sagas,
        _handlers_of_steps,
        _undos,
        _senders,
    )
    return sorted({*facts.findings, *chain.from_iterable(rule(facts) for rule in rules)})


def _names(facts: Facts) -> Iterator[Finding]:
    for deployed in facts.functions:
        service, _, handler = deployed.function.name.partition(".")
        if handler != deployed.name:
            yield deployed.handler.error(
                f"{handler}'s file and stack entry are called {deployed.name}: "
                "a function is started by its handler's name"
            )
        if service != deployed.service:
            yield deployed.entry.warning(
                f"{deployed.function.name} is of another service than its stack, "
                f"{deployed.service}: a function's service is the folder it is in"
            )


def _annotations(facts: Facts) -> Iterator[Finding]:
    """Check the handlers that the decorator takes as they are; those of commands it has checked."""
    shapes = {
        "replies": "(replies: Sequence[Reply], now: datetime) -> list[Envelope]",
        "timer": "(now: datetime) -> list[Envelope]",
    }
    for deployed in facts.functions:
        shape = shapes.get(deployed.function.kind)
        handler = deployed.function.handler
        if shape is not None and not _has_shape(handler, replies="replies" in shape):
            yield deployed.handler.error(
                f"{handler.__name__} must be declared as def {handler.__name__}{shape}"
            )


def _has_shape(handler: Any, *, replies: bool) -> bool:
    if inspect.iscoroutinefunction(handler):
        return False
    hints = typing.get_type_hints(handler)
    parameters = [hints.get(name) for name in inspect.signature(handler).parameters]
    if not parameters or parameters.pop() is not datetime:
        return False
    asked = [typing.get_args(parameter) for parameter in parameters]
    return asked == [(Reply,)] * replies and typing.get_args(hints.get("return")) == (Envelope,)


def _consumer_groups(facts: Facts) -> Iterator[Finding]:
    first: dict[str, Deployed] = {}
    for deployed in facts.functions:
        name = deployed.function.name
        other = first.setdefault(name, deployed)
        if other is not deployed:
            yield deployed.entry.error(
                f"{name} is deployed by {_where(other.entry)} too: "
                "both would share one consumer group"
            )


def _topics(facts: Facts) -> Iterator[Finding]:
    events = {command.event.topic: deployed for deployed, command in facts.commands()}
    first: dict[tuple[str, str], Deployed] = {}
    for deployed in facts.functions:
        saga, name = deployed.function.saga, deployed.function.name
        for topic in deployed.function.topics:
            other = first.setdefault((topic, saga.name if saga else ""), deployed)
            if other.function.name != name:
                whose = f"saga {saga.name!r} from {topic}" if saga else topic
                yield deployed.handler.error(
                    f"{name} reads {whose}, as {other.function.name} does: one of them is enough"
                )
            if saga is None and topic in events:
                yield deployed.handler.error(
                    f"{name} reads {topic} as commands, but {events[topic].function.name} "
                    "answers there"
                )


def _sagas(facts: Facts) -> Iterator[Finding]:
    """Check that each saga is driven, and is the only one of its name."""
    first: dict[str, PlacedSaga] = {}
    for placed in facts.sagas:
        saga = placed.saga
        other = first.setdefault(saga.name, placed)
        if other is not placed:
            yield placed.place.error(
                f"saga {saga.name!r} has the name of the one in {_where(other.place)}"
            )
    if not facts.sagas_known:
        return
    for placed in first.values():
        saga = placed.saga
        functions = [deployed.function for deployed in facts.functions]
        kinds = {f.kind for f in functions if f.saga and f.saga.name == saga.name}
        if "replies" not in kinds:
            yield placed.place.error(
                f"nobody reads {', '.join(saga.reply_topics)} for saga {saga.name!r}: "
                "it has no @function(saga=…)"
            )
        if "timer" not in kinds:
            yield placed.place.warning(
                f"nobody sends again what saga {saga.name!r} waits for: "
                "it has no @function(saga=…, every=…)"
            )


def _handlers_of_steps(facts: Facts) -> Iterator[Finding]:
    for placed, step, command in _sent(facts):
        if facts.handles(command) is not None or command.step_name() in facts.broken:
            continue
        does = "undoes" if command is step.undo else "does"
        yield placed.step(step).error(
            f"no function takes {command.__name__} from {command.topic}, "
            f"which {does} step {step.name} of saga {placed.saga.name!r}"
        )


def _undos(facts: Facts) -> Iterator[Finding]:
    """Check that an undo finds what its do has done: in the inbox of the same database."""
    for placed, step, command in _sent(facts):
        do, undo = facts.handles(step.command), facts.handles(command)
        if command is step.undo and do and undo and do.database != undo.database:
            yield placed.step(step).error(
                f"{undo.function.name} can't undo {do.function.name}: its database is "
                f"{undo.database}, not {do.database}, so its inbox knows no do"
            )


def _senders(facts: Facts) -> Iterator[Finding]:
    if not facts.sagas_known:
        return
    sent = {command.topic for _, _, command in _sent(facts)}
    read = {topic for placed in facts.sagas for topic in placed.saga.reply_topics}
    for deployed, command in facts.commands():
        if command.topic not in sent:
            yield deployed.handler.warning(
                f"nobody sends to {command.topic}: no saga has {command.__name__} as a step or undo"
            )
            if command.event.topic not in read:
                yield deployed.handler.warning(
                    f"nobody reads {command.event.topic}, where {deployed.function.name} answers"
                )


def _sent(facts: Facts) -> Iterator[tuple[PlacedSaga, Step, type[Command]]]:
    for placed in facts.sagas:
        for step in placed.saga.steps:
            for command in filter(None, (step.command, step.undo)):
                yield placed, step, command


def _where(place: Place) -> str:
    return f"{place.path.name}:{place.line}"
