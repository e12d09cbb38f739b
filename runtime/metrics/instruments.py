"""Where this process counts: in its own memory, or in files that outlive it.

A process under a supervisor counts in files that are mapped into its memory, under its name. So
what it has counted is there after a kill, its successor goes on from it, and the supervisor's
process for metrics adds up all files at a scrape. They are written once a second, as to write each
count at once takes longer than all else that is done to count it: a kill may cost a second's.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from functools import cache
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from .catalogue import Metric

KINDS = {"counter": Counter, "gauge": Gauge, "histogram": Histogram}
MOST_CODES = 20  # of failures in one process's label: a handler may make one from an id
OTHER = "other"
FILES = ("counter", "gauge_max", "histogram")  # what prometheus_client puts before their name
ROOM = 1 << 18  # bytes of each: more than most processes ever need
WRITTEN_EVERY = 1.0  # seconds

# A third more series, which nobody asks for.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


def count_in(file: Path) -> None:
    """Let all that is counted in this process from now on stand in files of this name.

    Those that a power cut has damaged begin anew. Raises `OSError` where there is no room for them.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    for kind in FILES:
        _make_room(file.with_name(f"{kind}_{file.name}.db"))
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(file.parent)
    kept = values.MultiProcessValue(lambda: file.name)  # type: ignore[no-untyped-call]
    values.ValueClass, write = _written_late(kept)
    threading.Thread(target=_write_on, args=(write,), daemon=True).start()
    Finalize(None, write, exitpriority=0)  # at the end of a process of multiprocessing's, too


def _written_late(kept: Any) -> tuple[Any, Callable[[], None]]:
    """Return a class of values whose increments reach their file together, and what writes them."""
    made: list[Any] = []
    lock = threading.Lock()

    class Late(kept):  # type: ignore[misc]
        def __init__(self, *names: Any, **options: Any) -> None:
            self.more = 0.0
            super().__init__(*names, **options)
            made.append(self)

        def inc(self, amount: float) -> None:
            with lock:
                self.more += amount

        def get(self) -> float:
            self.write()
            return float(super().get())

        def write(self) -> None:
            with lock:
                more, self.more = self.more, 0.0
            if more:
                super().inc(more)

    def write() -> None:
        for value in list(made):
            value.write()

    return Late, write


def _write_on(write: Callable[[], None]) -> None:
    while True:
        time.sleep(WRITTEN_EVERY)
        write()


def _make_room(file: Path) -> None:
    """Write zeros: who writes into memory for which a full disk has no block is ended by that."""
    if file.exists() and not _can_go_on(file):
        file.unlink()
    with file.open("ab") as room:
        room.write(bytes(max(0, ROOM - room.tell())))


def _can_go_on(file: Path) -> bool:
    """Tell whether who counts finds in a file what was counted, and where that ends."""
    end = int.from_bytes(file.read_bytes()[:4], sys.byteorder, signed=True)
    return end >= 0 and end % 8 == 0 and _can_be_read(str(file))


class Instruments:
    """The metrics that a process counts itself; each is there from its first use on."""

    def __init__(self, registry: CollectorRegistry = prometheus_client.REGISTRY) -> None:
        self.registry = registry
        self._made: dict[Metric, Any] = {}
        self._series: dict[tuple[str, tuple[str, ...]], Any] = {}

    def series(self, metric: Metric, *labels: str) -> Any:
        """Return the one series of a metric that has these values of its labels, in their order."""
        key = metric.name, labels
        if (found := self._series.get(key)) is None:
            found = self._series[key] = self._instrument(metric).labels(*labels)
        return found

    def _instrument(self, metric: Metric) -> Any:
        if metric not in self._made:
            options: dict[str, Any] = {"registry": self.registry}
            if metric.kind == "histogram":
                options["buckets"] = metric.buckets
            if metric.kind == "gauge":
                options["multiprocess_mode"] = "max"
            kind = KINDS[metric.kind]
            self._made[metric] = kind(metric.name, metric.help, metric.labels, **options)
        return self._made[metric]


@cache
def of_this_process() -> Instruments:
    """Return the instruments that all of this process counts on."""
    return Instruments()


class Counted(Collector):
    """Adds up what the processes have counted whose files are in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Family]:
        """Return the sums, but for files that can't be read."""
        files = sorted(str(file) for file in self._folder.glob("*.db"))
        try:
            return _merged(files)
        except Exception:  # in a damaged file, or somebody else's, may be anything
            return _merged([file for file in files if _can_be_read(file)])

    def describe(self) -> Iterable[Family]:
        """Return nothing: to be registered is no scrape."""
        return ()


def _merged(files: list[str]) -> Iterable[Family]:
    return list(MultiProcessCollector.merge(files))  # type: ignore[no-untyped-call]


def _can_be_read(file: str) -> bool:
    try:
        _merged([file])
    except Exception:
        return False
    return True
