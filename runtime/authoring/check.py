"""What is wrong with a system of functions, told before anything is deployed.

`check` is pure: facts in, findings out. `survey` reads the facts off stack files and modules, and
finds there what has to be right before anything else can be: files that can't be read.
"""

import inspect
import typing
from collections.abc import Iterator
from datetime import datetime
from itertools import chain
from typing import Any

from ..envelope import Envelope
from ..message import Command
from ..saga import Step
from ..topic import alike
from .facts import Deployed, Facts, Finding, Place, PlacedSaga
from .wire import Untried, wire_fault


def check(facts: Facts) -> list[Finding]:
    """Return what is wrong with a system, by file and line."""
    rules = (
        _names,
        _annotations,
        _consumer_groups,
        _topics,
        _topics_alike,
        _sagas,
        _handlers_of_steps,
        _timeouts,
        _undos,
        _messages,
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
    for placed in facts.sagas:
        if placed.hosted.name.partition(".")[0] != placed.service:
            yield placed.entry.warning(
                f"{placed.hosted.name} is of another service than its stack, "
                f"{placed.service}: a saga's service is the folder it is in"
            )


def _annotations(facts: Facts) -> Iterator[Finding]:
    """Check a timer's handler, which the decorator takes as it is."""
    for deployed in facts.functions:
        handler = deployed.function.handler
        if deployed.function.kind == "timer" and not _is_timer(handler):
            yield deployed.handler.error(
                f"{handler.__name__} must be declared as "
                f"def {handler.__name__}(now: datetime) -> list[Envelope], "
                "of saga.runtime.envelope"
            )


def _is_timer(handler: Any) -> bool:
    if inspect.iscoroutinefunction(handler):
        return False
    hints = typing.get_type_hints(handler)
    parameters = [hints.get(name) for name in inspect.signature(handler).parameters]
    return parameters == [datetime] and typing.get_args(hints.get("return")) == (Envelope,)


def _consumer_groups(facts: Facts) -> Iterator[Finding]:
    first: dict[str, Place] = {}
    hosted = [(deployed.function.name, deployed.entry) for deployed in facts.functions]
    hosted += [(placed.hosted.name, placed.entry) for placed in facts.sagas]
    for name, entry in hosted:
        other = first.setdefault(name, entry)
        if other is not entry:
            yield entry.error(
                f"{name} is deployed by {_where(other)} too: both would share one consumer group"
            )


def _topics(facts: Facts) -> Iterator[Finding]:
    events = {command.event.topic: deployed for deployed, command in facts.commands()}
    first: dict[str, Deployed] = {}
    for deployed in facts.functions:
        name = deployed.function.name
        for topic in deployed.function.topics:
            other = first.setdefault(topic, deployed)
            if other.function.name != name:
                yield deployed.handler.error(
                    f"{name} reads {topic}, as {other.function.name} does: one of them is enough"
                )
            if topic in events:
                yield deployed.handler.error(
                    f"{name} reads {topic} as commands, but {events[topic].function.name} "
                    "answers there"
                )


def _topics_alike(facts: Facts) -> Iterator[Finding]:
    """Check that Kafka takes all topics beside one another."""
    first: dict[str, str] = {}
    named = [
        (t, deployed.handler) for deployed in facts.functions for t in deployed.function.topics
    ]
    named += [(command.event.topic, deployed.handler) for deployed, command in facts.commands()]
    named += [(placed.saga.ended_topic, placed.place) for placed in facts.sagas]
    for topic, place in named:
        other = first.setdefault(alike(topic), topic)
        if other != topic:
            yield place.error(
                f"Kafka can't have topics {other} and {topic}: for it, '.' and '_' are alike"
            )


def _sagas(facts: Facts) -> Iterator[Finding]:
    """Check that each saga is the only one of its name, and on its topic."""
    first: dict[str, PlacedSaga] = {}
    for placed in facts.sagas:
        other = first.setdefault(placed.saga.ended_topic, placed)
        if other.saga.name != placed.saga.name:
            yield placed.place.error(
                f"saga {placed.saga.name!r} tells on {placed.saga.ended_topic} which have ended, "
                f"as the one in {_where(other.place)} does: call it otherwise"
            )
        elif other is not placed:
            yield placed.place.error(
                f"saga {placed.saga.name!r} has the name of the one in {_where(other.place)}"
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


def _timeouts(facts: Facts) -> Iterator[Finding]:
    for placed in facts.sagas:
        for step in placed.saga.steps:
            if step.timeout > placed.saga.deadline:
                yield placed.step(step).warning(
                    f"step {step.name} waits {step.timeout:g} s for an answer, but saga "
                    f"{placed.saga.name!r} gives up after {placed.saga.deadline:g} s: "
                    "shorten its timeout, or put off the deadline"
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


def _messages(facts: Facts) -> Iterator[Finding]:
    """Check that what the messages' classes say survives the wire."""
    for cls, place in facts.messages.items():
        try:
            fault = wire_fault(cls)
        except Untried as why:
            yield place.warning(
                f"{cls.__name__} was not tried on the wire, for want of values ({why}): "
                "give its fields some, as in Field(examples=[…])"
            )
        else:
            if fault is not None:
                yield place.error(f"{cls.__name__} does not survive the wire: {fault}")


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
