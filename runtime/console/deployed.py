"""What is deployed, as a person wants to see it: its instances, its versions, how it stands."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import NotRunning, SagaError
from ..saga import Saga
from ..settings import Settings
from ..system.process import ProcessInfo
from ..system.stack import read_stacks
from ..system.state import System, read_system

# As a whole stands what the first of these says that one of its instances does.
STANDING = {
    "unhealthy": "unhealthy",
    "restarting": "restarting",
    "starting": "starting",
    "ready": "ready",
    "stopping": "draining",
    "stopped": "stopped",
}
DRAINING = ("stopping", "stopped")
KINDS = ("function", "saga")


class Version(NamedTuple):
    """The instances of one version that work, or of those that only finish what they have begun."""

    version: str
    drains: bool
    instances: tuple[ProcessInfo, ...]


@dataclass(frozen=True)
class Deployed:
    """A function, or a saga's host; which `instances` there are is None where nobody knows."""

    name: str
    kind: str
    instances: tuple[ProcessInfo, ...] | None

    @property
    def entry(self) -> str:
        """Its name within its service."""
        return self.name.partition(".")[2]

    @property
    def standing(self) -> str:
        """How it stands, in one word."""
        if not self.instances:
            return "unknown" if self.instances is None else "not running"
        states = {one.state for one in self.instances}
        return next(word for state, word in STANDING.items() if state in states)

    @property
    def problem(self) -> str:
        """Why an instance can't be started."""
        return next((one.problem for one in self.instances or () if one.problem), "")

    @property
    def working(self) -> tuple[ProcessInfo, ...]:
        """The instances that do not drain."""
        return tuple(one for one in self.instances or () if one.state not in DRAINING)

    @property
    def ready(self) -> int:
        """How many instances do their work."""
        return sum(one.state == "ready" for one in self.working)

    @property
    def versions(self) -> list[Version]:
        """The versions that run, those that drain last."""
        found: dict[tuple[bool, str], list[ProcessInfo]] = {}
        for one in self.instances or ():
            key = one.state in DRAINING, one.version or ""
            found.setdefault(key, []).append(one)
        return [
            Version(version, drains, tuple(found[drains, version]))
            for drains, version in sorted(found)
        ]

    @property
    def restarts(self) -> int | None:
        """How often its instances were started again."""
        return None if self.instances is None else sum(one.restarts for one in self.instances)

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics that its instances read, as far as they have told."""
        told = " ".join(one.topic or "" for one in self.instances or ())
        return tuple(sorted(set(told.split())))

    @property
    def is_timer(self) -> bool:
        """Whether it reads no topic, and so is never behind."""
        return bool(self.ready) and not self.topics


def deployed(
    declared: Mapping[str, str], processes: Iterable[ProcessInfo] | None
) -> dict[str, Deployed]:
    """Return what is declared, by its name and kind, and what runs; in the order of their names."""
    kinds, found = dict(declared), dict[str, list[ProcessInfo]]()
    for one in processes or ():
        if one.deployed and one.kind in KINDS:
            kinds[one.deployed] = one.kind
            found.setdefault(one.deployed, []).append(one)
    return {
        name: Deployed(name, kinds[name], None if processes is None else tuple(found.get(name, ())))
        for name in sorted(kinds)
    }


def read_deployed(settings: Settings) -> tuple[System | None, dict[str, Deployed]]:
    """Return the system on the data directory, None where none runs there, and what is deployed."""
    try:
        system = read_system(settings.saga_data)
    except NotRunning:
        system = None
    declared = _declared(settings if system is None else _with_stacks(settings, system))
    return system, deployed(declared, None if system is None else system.processes)


def reads(saga: Saga) -> dict[str, tuple[str, ...]]:
    """Return which topics they read that work for a saga, its host too, by their modules' names."""
    commands = [each for step in saga.steps for each in (step.command, step.undo) if each]
    host = re.sub(r"\W", "_", saga.name)
    return {each.step_name(): (each.topic,) for each in commands} | {host: tuple(saga.reply_topics)}


def _with_stacks(settings: Settings, system: System) -> Settings:
    return settings.model_copy(update={"saga_stacks": system.stacks})


def _declared(settings: Settings) -> dict[str, str]:
    try:
        stacks = read_stacks(settings.saga_stacks)
    except SagaError:  # what runs is known all the same
        return {}
    return {stack.name(entry): stack.kind(entry) for stack in stacks for entry in stack.entries}
