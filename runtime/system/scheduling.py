"""What Linux is told of a system's processes: that they are batch work, while they have it alone.

One that is woken then takes the processor from none of the others (`SCHED_BATCH`, sched(7)): each
finishes its turn, and finds more messages at the next. Where others keep all cores busy, be they
handlers that compute for long, each hop of a message would wait until one of them has used up its
time. So it is for those seconds alone in which most of what the machine does is our messages.
"""

import logging
import os
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

log = logging.getLogger(__name__)

BUSY = 0.25  # of all cores: below that, nobody has to wait for one
MOST = 2.0  # times what all others use
LONGEST = 0.02  # CPU-seconds between two waits; a turn takes one or two milliseconds


class Own(NamedTuple):
    """What a process of ours has used up to a moment: CPU-seconds, and those of its main thread.

    `waits` counts how often that thread has given its core up by itself.
    """

    used: float
    main: float
    waits: int


class Used(NamedTuple):
    """CPU-seconds used up to a moment by the machine, and what each of our processes has used.

    `could` is what all cores would have used by then; `ours` is empty where nobody asked.
    """

    could: float
    machine: float
    ours: Mapping[int, Own]


def is_busy(before: Used, now: Used) -> bool:
    """Tell whether so much is going on that it matters who goes first."""
    return now.machine - before.machine >= BUSY * (now.could - before.could)


def is_ours(before: Used, now: Used) -> bool:
    """Tell whether most of what the machine did was our messages.

    A process counts that was there at both moments. One with a handler that computes for long is
    to the others what a stranger is.
    """
    both = [(before.ours[pid], own) for pid, own in now.ours.items() if pid in before.ours]
    ours = sum(own.used - was.used for was, own in both if not _computes(was, own))
    others = now.machine - before.machine - ours
    return ours > MOST * others


def _computes(was: Own, now: Own) -> bool:
    return now.main - was.main > LONGEST * (now.waits - was.waits + 1)


class Scheduling:
    """Makes processes batch work, and ends that, as the load is.

    It does nothing where it is not `wanted`, where we are not scheduled as usual ourselves, as our
    processes were started so, and where there is no such thing: it is Linux's alone.
    """

    def __init__(self, *, wanted: bool) -> None:
        usual = hasattr(os, "SCHED_BATCH") and os.sched_getscheduler(0) == os.SCHED_OTHER
        self._on = wanted and usual
        self._before = Used(0.0, 0.0, {})
        self._batch = frozenset[int]()  # processes that are batch work

    def look(self, pids: Collection[int]) -> None:
        """Compare what has been used with the last look, which is best about a second ago."""
        if not self._on:
            return
        before, now = self._before, Used(_could(), _machine(), {})
        busy = is_busy(before, now)
        if busy:
            now = now._replace(ours=_each(pids))
        self._before = now
        batch = busy and is_ours(before, now)
        were, self._batch = self._batch, frozenset(pids) if batch else frozenset()
        self._tell(self._batch - were, batch=True)
        self._tell(were - self._batch, batch=False)

    def _tell(self, pids: Collection[int], *, batch: bool) -> None:
        """Turn what is scheduled as usual into batch work, or back; leave what is neither."""
        was, new = os.SCHED_OTHER, os.SCHED_BATCH
        if not batch:
            was, new = new, was
        try:
            for thread in _threads(pids):
                with suppress(ProcessLookupError):  # ended meanwhile
                    if os.sched_getscheduler(thread) == was:
                        os.sched_setscheduler(thread, new, os.sched_param(0))
        except PermissionError as error:  # a container may forbid it
            log.info("processes are scheduled as usual: %s", error)
            self._on = False


def _threads(pids: Collection[int]) -> Iterator[int]:
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):  # ended meanwhile
            yield from map(int, os.listdir(f"/proc/{pid}/task"))


def _could() -> float:
    return time.monotonic() * (os.cpu_count() or 1)


def _machine() -> float:
    used = psutil.cpu_times()
    return used.user + used.nice + used.system


def _each(pids: Collection[int]) -> dict[int, Own]:
    found = {}
    for pid in pids:
        with suppress(psutil.Error, OSError):  # ended meanwhile
            process = psutil.Process(pid)
            used, waits = process.cpu_times(), process.num_ctx_switches().voluntary
            # Of the main thread, in nanoseconds (Documentation/scheduler/sched-stats.rst).
            main = int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
            found[pid] = Own(used.user + used.system, main, waits)
    return found
