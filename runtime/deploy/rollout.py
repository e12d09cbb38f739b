"""How versions replace each other: start the new, wait until it is healthy, then drain the old.

While both run they are members of one consumer group, which shares the partitions among them; the
inbox keeps what both may see from happening twice. All that is deployed together is replaced
together: when one part does not get healthy, all of the new is taken down, and the old never ended.
An adapter's port can be had by one instance only: there the old one stops first, and is started
again when the new one fails.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from saga.runtime.deploy.target import Instance, NotHealthy, Release, Target
from saga.runtime.errors import SagaError
from saga.runtime.system import instance_name

Tell = Callable[[str], None]

PATIENCE = 60.0  # seconds that an instance has to become ready
LOOK_EVERY = 0.1  # seconds


@dataclass(frozen=True, slots=True)
class Change:
    """What a deploy does with one function or adapter: the numbers it starts, and what it ends."""

    release: Release
    numbers: tuple[int, ...]
    old: tuple[Instance, ...]

    @property
    def is_swap(self) -> bool:
        """Whether the old one has to stop before the new one can start."""
        return self.release.function is None and bool(self.old)


def plan(
    releases: Sequence[Release], running: Sequence[Instance], *, force: bool = False
) -> list[Change]:
    """Work out what has to change: nothing, without `force`, where the version runs and is ready.

    As many instances are started as run now, or as the stack file says, whichever is more.
    """
    changes = []
    for release in releases:
        old = tuple(i for i in running if i.deployed == release.name)
        wanted = release.stack.replicas(release.name)
        at_work = sum(instance.state not in ("stopping", "stopped") for instance in old)
        count = max(wanted, at_work) if release.function else wanted
        if (
            not force
            and len(old) == count
            and all(_is(instance, release.version) for instance in old)
        ):
            continue
        numbers = _free(release.name, count, {instance.name for instance in old})
        changes.append(Change(release, numbers, old))
    # Adapters last: they are the ones that can't run beside their successors.
    return sorted(changes, key=lambda change: change.release.function is None)


def plan_scale(release: Release, count: int, running: Sequence[Instance]) -> Change:
    """Work out how a function gets to `count` instances: the newest start, and end, first."""
    there = [i for i in running if i.deployed == release.name and i.state != "stopping"]
    missing = max(0, count - len(there))
    numbers = _free(release.name, missing, {instance.name for instance in running})
    return Change(release, numbers, tuple(there[count:]))


def roll_out(target: Target, changes: Sequence[Change], tell: Tell, patience: float) -> None:
    """Carry changes out, all or none of them.

    Raises `NotHealthy` when an instance is not ready after `patience` seconds.
    """
    started: list[str] = []
    swapped: list[Instance] = []
    try:
        beside = [change for change in changes if not change.is_swap]
        for change in beside:
            for number in change.numbers:
                started.append(target.start(change.release, number))
                tell(f"{started[-1]} starts")
        _wait_until_ready(target, started, tell, patience)
        for change in changes:
            if change.is_swap:
                swapped += change.old
                target.stop([instance.name for instance in change.old])
                started.append(target.start(change.release, change.numbers[0]))
                tell(f"{started[-1]} starts")
                _wait_until_ready(target, started[-1:], tell, patience)
    except BaseException:
        try:
            target.remove(started)
        finally:
            for instance in swapped:
                target.restore(instance)
        with suppress(SagaError):  # what went wrong first is what is told
            _wait_until_ready(target, [i.name for i in swapped], lambda _: None, patience)
        raise
    for name in started:
        target.keep(name)
    ended = [instance.name for change in changes for instance in change.old]
    target.remove(ended)
    for name in ended:
        tell(f"{name} has ended")


def _wait_until_ready(target: Target, names: Sequence[str], tell: Tell, patience: float) -> None:
    begin = time.monotonic()
    waiting = list(names)
    while waiting:
        for name in list(waiting):
            if target.is_ready(name):
                waiting.remove(name)
                tell(f"{name} is ready, after {time.monotonic() - begin:.1f} s")
        if waiting and time.monotonic() - begin > patience:
            name = waiting[0]
            raise NotHealthy(told(f"{name} is not ready after {patience:g} s", target, name))
        if waiting:
            time.sleep(LOOK_EVERY)
    for name in names:
        target.is_ready(name)  # raises where one has ended while the others were waited for


def told(what: str, target: Target, name: str) -> str:
    """Say what happened to an instance, with its last words."""
    lines = target.last_lines(name)
    return "\n".join([what + (". Its last lines:" if lines else "; it logged nothing"), *lines])


def _is(instance: Instance, version: str) -> bool:
    return instance.version == version and instance.state == "ready"


def _free(name: str, count: int, taken: set[str]) -> tuple[int, ...]:
    highest = count + len(taken)
    free = (n for n in range(1, highest + 1) if instance_name(name, n) not in taken)
    return tuple(free)[:count]
