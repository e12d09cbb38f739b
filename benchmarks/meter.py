"""The meters: CPU of a system's processes, by part, and how fast the machine is just now."""

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial

import psutil

Parts = Mapping[str, Sequence[int]]


def cpu_seconds(parts: Parts) -> dict[str, float]:
    """Add up what the processes of each part have used so far, with those that they started.

    A process that is listed belongs to the part where it is, whoever started it. One that has
    ended counts as a part of the one that waited for it.
    """
    used = dict.fromkeys(parts, 0.0)
    for part, process in processes(parts):
        used[part] += _used(process)
    return used


def processes(parts: Parts) -> Iterator[tuple[str, psutil.Process]]:
    """Yield the processes of each part, and those that they started and that are not listed."""
    listed = {pid for pids in parts.values() for pid in pids}
    for part, pids in parts.items():
        for pid in pids:
            for process in _tree(pid, listed):
                yield part, process


def _tree(pid: int, listed: set[int]) -> Iterator[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        yield process
        for child in process.children():
            if child.pid not in listed:
                yield from _tree(child.pid, listed)


def _used(process: psutil.Process) -> float:
    with suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return float(times.user + times.system + times.children_user + times.children_system)
    return 0.0


def machine_speed() -> float:
    """Return the milliseconds of a fixed piece of work: more, where others use the machine too."""
    return statistics.median(_work() for _ in range(9)) * 1000


def _work() -> float:
    began = time.perf_counter()
    sum(map(partial(pow, 3), range(2_000)))
    return time.perf_counter() - began
