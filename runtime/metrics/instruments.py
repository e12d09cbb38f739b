"""Where this process counts: in its own memory, or in files that outlive it.

A process under a supervisor counts in files that are mapped into its memory, under its name. So
what it has counted is there after a kill, its successor goes on from it, and the supervisor's
process for metrics adds up all files at a scrape. What is counted is written once a second, as to
write each count at once takes longer than all else that is done to count it: a kill may cost a
second's.
"""

import logging
import os
import sys
import threading
import time
from collections import deque
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

log = logging.getLogger(__name__)

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
    values.ValueClass = values.MultiProcessValue(lambda: file.name)  # type: ignore[no-untyped-call]


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


class Series:
    """One series of a metric; what is counted is added to it when it is written.

    A counter takes `inc`, a histogram `observe`, a gauge `set`, each with a number.
    """

    def __init__(self, metric: Metric, child: Any) -> None:
        self._kind, self._child = metric.kind, child
        self._counted: deque[float] = deque()
        # The deque's own method, and no call of Python's: each message counts a few.
        if self._kind == "counter":
            self.inc = self._counted.append
        elif self._kind == "histogram":
            self.observe = self._counted.append
        else:
            self.set = child.set

    def write(self) -> None:
        """Add what was counted since the last time."""
        counted = [self._counted.popleft() for _ in range(len(self._counted))]
        if not counted:
            return
        if self._kind == "counter":
            self._child.inc(sum(counted))
        else:
            for value in counted:
                self._child.observe(value)


class Undescribed(Collector):
    """A collector that is asked at a scrape alone, and not when it is registered."""

    def describe(self) -> Iterable[Family]:
        """Return nothing."""
        return ()


class Instruments(Undescribed):
    """The metrics that a process counts itself; each is there from its first use on.

    What is counted is written when `write` is called, and when the registry is asked.
    """

    def __init__(self, registry: CollectorRegistry = prometheus_client.REGISTRY) -> None:
        self.registry = registry
        self._made: dict[Metric, Any] = {}
        self._series: dict[tuple[str, tuple[str, ...]], Series] = {}
        self._writing = threading.Lock()
        registry.register(self)  # before all that it makes, so that it is asked first

    def series(self, metric: Metric, *labels: str) -> Series:
        """Return the one series of a metric that has these values of its labels, in their order."""
        key = metric.name, labels
        if (found := self._series.get(key)) is None:
            child = self._instrument(metric).labels(*labels)
            found = self._series[key] = Series(metric, child)
        return found

    def write(self) -> None:
        """Write what was counted since the last time."""
        with self._writing:
            for series in list(self._series.values()):
                series.write()

    def collect(self) -> Iterable[Family]:
        """Write, and return nothing: each metric is asked itself."""
        self.write()
        return ()

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
    """Return the instruments that all of this process counts on; a thread writes them."""
    own = Instruments()
    threading.Thread(target=_write_on, args=(own.write,), name="counts", daemon=True).start()
    Finalize(None, own.write, exitpriority=0)  # at the end of a process of multiprocessing's, too
    return own


def _write_on(write: Callable[[], None]) -> None:
    while True:
        time.sleep(WRITTEN_EVERY)
        try:
            write()
        except Exception:  # or else all that is counted from then on would stay in memory
            log.exception("what was counted last is not written")


class Counted(Undescribed):
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


def _merged(files: list[str]) -> Iterable[Family]:
    return list(MultiProcessCollector.merge(files))  # type: ignore[no-untyped-call]


def _can_be_read(file: str) -> bool:
    try:
        _merged([file])
    except Exception:
        return False
    return True
