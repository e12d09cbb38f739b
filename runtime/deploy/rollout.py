"""How versions replace each other: start the new, wait until it is healthy, then drain the old.

While both run they are members of one consumer group, which shares the partitions among them; the
inbox keeps what both may see from happening twice. All that is deployed together is replaced
together: when one part does not get healthy, all of the new is taken down, and the old never ended.
Where an adapter's port is for one instance only, the new one first shows in a rehearsal, without
the port, that it gets healthy. Then the old one stops and the new one starts; should it fail all
the same, the old one is started again.
"""

import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from ..errors import SagaError
from ..polling import poll_until
from ..system.wanted import instance_name
from .artifact import SHOWN
from .interruption import uninterrupted
from .target import Instance, NotHealthy, Release, Target, told

Tell = Callable[[str], None]

READY_TIMEOUT = 60.0  # seconds that an instance has to become ready
LOOK_EVERY = 0.1  # seconds


@dataclass(frozen=True, slots=True)
class Change:
    """What a deploy does with one of what is deployed: the numbers it starts, what it ends."""

    release: Release
    numbers: tuple[int, ...]
    old: tuple[Instance, ...]

    @property
    def is_swap(self) -> bool:
        """Whether the old one has to stop before the new one can start, as it has the port."""
        return self.release.entry is None and bool(self.old) and bool(self.numbers)


def plan(
    releases: Sequence[Release],
    running: Sequence[Instance],
    *,
    force: bool = False,
    shares_ports: bool = False,
) -> list[Change]:
    """Work out what has to change: nothing, without `force`, where the version runs and is ready.

    There will be as many instances as the stack file says, or as run now of one version and one
    generation, whichever is more: what a deploy has left that was killed does not count, and ends.
    """
    changes = []
    for release in releases:
        there = [i for i in running if i.deployed == release.name]
        at_work = Counter((i.version, i.generation) for i in there if _is_at_work(i))
        wanted = release.stack.replicas(release.name)
        scales = release.entry is not None or shares_ports
        count = max(wanted, *at_work.values(), 0) if scales else wanted
        release = replace(release, replicas=max(count, 1))
        good = [i for i in there if i.version == release.version and i.state == "ready"]
        kept = [] if force else good[:count]
        if kept:  # what is started is to be counted with them
            release = replace(release, generation=kept[0].generation)
        ended = tuple(instance for instance in there if instance not in kept)
        numbers = _free(release.name, count - len(kept), {instance.name for instance in there})
        if numbers or ended:
            changes.append(Change(release, numbers, ended))
    # Adapters last: they are the ones that may be unable to run beside their successors.
    return sorted(changes, key=lambda change: change.release.entry is None)


def plan_scale(release: Release, count: int, running: Sequence[Instance]) -> Change:
    """Work out how there come to be `count` instances: the last numbers start, and end, first."""
    there = sorted((i for i in running if i.deployed == release.name), key=_number)
    at_work = [instance for instance in there if _is_at_work(instance)]
    ended = [i for i in there if i.state == "stopped"] + at_work[count:]
    missing = max(0, count - len(at_work))
    numbers = _free(release.name, missing, {instance.name for instance in there})
    return Change(replace(release, replicas=max(count, 1)), numbers, tuple(ended))


def described(change: Change) -> str:
    """Say in one line what a change would do."""
    starts = [instance_name(change.release.name, number) for number in change.numbers]
    done = [f"starts {', '.join(starts)}"] if starts else []
    if change.old:
        ended = (f"{old.name} of {old.version[:SHOWN]}" for old in change.old)
        done.append(f"ends {', '.join(ended)}")
    return f"{change.release.name} {change.release.version[:SHOWN]}: {', '.join(done)}"


def roll_out(
    target: Target,
    changes: Sequence[Change],
    tell: Tell,
    timeout: float,
    on_ready: Callable[[], None] = lambda: None,
) -> None:
    """Carry changes out, all or none of them.

    `on_ready` is called when all that is new does its work, before the old ends; what it raises
    takes the new down, too. Once it has returned, an interruption leaves new and old. Raises
    `NotHealthy` when an instance has ended or is not ready after `timeout` seconds, and whatever
    else keeps one from starting.
    """
    for change in changes:
        target.check(change.release, change.numbers)
    swaps = [] if target.shares_ports else [change for change in changes if change.is_swap]
    started: list[str] = []
    prepared: list[str] = []
    swapped: list[Instance] = []
    is_done = False
    try:
        for change in changes:
            if change not in swaps:
                _start(target, change, started, tell)
        _wait_until_ready(target, started, tell, timeout)
        for change in swaps:
            _rehearse(target, change, prepared, tell, timeout)
        for change in swaps:
            swapped += change.old
            target.stop([instance.name for instance in change.old])
            _wait_until_ready(target, _start(target, change, started, tell), tell, timeout)
        _wait_until_ready(target, started, lambda _: None, timeout)  # the swaps took a while
        for name in started:
            target.keep(name)
        with uninterrupted():
            on_ready()
            is_done = True
    except BaseException:
        if not is_done:
            with uninterrupted():
                _take_back(target, [*dict.fromkeys(started + prepared)], swapped, timeout)
        raise
    ended = [instance.name for change in changes for instance in change.old]
    target.remove(ended)
    for name in ended:
        tell(f"{name} has ended")


def _start(target: Target, change: Change, started: list[str], tell: Tell) -> list[str]:
    """Start a change's instances; note each in `started` at once, should the next one fail."""
    for number in change.numbers:
        started.append(target.start(change.release, number))
        tell(f"{started[-1]} starts")
    return started[len(started) - len(change.numbers) :]


def _rehearse(
    target: Target, change: Change, prepared: list[str], tell: Tell, timeout: float
) -> None:
    """See that an adapter gets healthy while the old one works; prepare all that a start takes."""
    rehearsing = target.rehearse(change.release)
    if rehearsing is not None:
        tell(f"{rehearsing} starts, without the port")
        try:
            _wait_until_ready(target, [rehearsing], tell, timeout)
        finally:
            target.remove([rehearsing])
    for number in change.numbers:
        prepared.append(instance_name(change.release.name, number))
        target.prepare(change.release, number)


def _take_back(
    target: Target, started: Sequence[str], swapped: Sequence[Instance], timeout: float
) -> None:
    """Take down what is new, and bring back what has stopped for it, as far as that goes."""
    # What went wrong first is what is told.
    with suppress(SagaError):
        target.remove(started)
    for instance in swapped:
        with suppress(SagaError):
            target.restore(instance)
            _wait_until_ready(target, [instance.name], lambda _: None, timeout)


def _wait_until_ready(target: Target, names: Sequence[str], tell: Tell, timeout: float) -> None:
    begin = time.monotonic()
    waiting = list(names)

    def all_are_ready() -> bool:
        for name in list(waiting):
            if target.is_ready(name):
                waiting.remove(name)
                tell(f"{name} is ready, after {time.monotonic() - begin:.1f} s")
        return not waiting

    if not poll_until(all_are_ready, timeout, LOOK_EVERY):
        name = waiting[0]
        raise NotHealthy(told(f"{name} is not ready after {timeout:g} s", target.last_lines(name)))
    for name in names:
        target.is_ready(name)  # raises where one has ended while the others were waited for


def _is_at_work(instance: Instance) -> bool:
    return instance.state not in ("stopping", "stopped")


def _number(instance: Instance) -> int:
    found = re.search(r"-(\d+)$", instance.name)
    return int(found[1]) if found else 1


def _free(name: str, count: int, taken: set[str]) -> tuple[int, ...]:
    highest = count + len(taken)
    free = (n for n in range(1, highest + 1) if instance_name(name, n) not in taken)
    return tuple(free)[: max(0, count)]
