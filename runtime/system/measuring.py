"""The process that serves the metrics of a whole system.

It adds up what the others have counted in their files, and asks the broker, the databases and the
supervisor's file for the rest. It is one of its own, so that neither the clients of all these nor
whoever scrapes is in the supervisor's way.
"""

import shutil
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SagaError
from ..settings import Settings
from .child import Child
from .code import STACK_FILE
from .counting import listen_for_metrics
from .launch import Launch, settle
from .logs import configure_logging
from .process import ProcessInfo
from .rotation import write_to
from .stack import Stack, read_stack
from .state import CODE, read_system

if TYPE_CHECKING:
    from ..metrics.collecting import Sample, Source

COUNTS = "counts"  # the folder in the data directory in which processes count
NAME = "metrics"  # of the process that serves what they have counted


def needed_to_count(settings: Settings) -> list[str]:
    """List what processes import to count: none where metrics are off."""
    return ["saga.runtime.metrics.recorder"] if settings.saga_metrics_port else []


def metrics_process(settings: Settings, data: Path, context: Any) -> list[Child]:
    """Start the process that serves the metrics of a system; none where that is not wanted.

    What was counted before is removed: a system begins at 0.
    """
    shutil.rmtree(data / COUNTS, ignore_errors=True)
    if not settings.saga_metrics_port:
        return []
    listening = listen_for_metrics(settings.saga_host, settings.saga_metrics_port)
    if listening is None:
        return []
    log_file = data / "logs" / f"{NAME}.log"
    info = ProcessInfo(name=NAME, kind="metrics", port=settings.saga_metrics_port)
    child = Child(
        info, Launch(context, ServeMetrics(settings, data, listening, log_file)), log_file
    )
    child.try_start()
    return [child]


@dataclass(frozen=True)
class ServeMetrics:
    """Serves the metrics of the system on a data directory, in the process of its call."""

    settings: Settings
    data: Path
    listening: socket.socket
    log_file: Path

    def __call__(self, reports: Connection) -> None:
        """Serve until told to stop; report at once, as who asks may wait."""
        settle()
        write_to(self.log_file, self.settings)
        configure_logging(self.settings)
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        reports.send(())
        from ..metrics.exposition import MetricsServer

        server = MetricsServer(_SystemsMetrics(self.settings, self.data).registry, self.listening)
        stop.wait()
        server.close()


class _SystemsMetrics:
    """All that is known of the system on a data directory."""

    def __init__(self, settings: Settings, data: Path) -> None:
        from prometheus_client import CollectorRegistry

        from ..metrics.backlog import Backlog
        from ..metrics.collecting import Asking, Source
        from ..metrics.instruments import Counted

        self._settings, self._data = settings, data
        self._broker = Source("the broker", Backlog(settings, self._groups))
        self._supervisor = Source("the supervisor", self._processes_now)
        self._databases: dict[str, Source] = {}  # by the service's version
        self.registry = CollectorRegistry()
        self.registry.register(Counted(data / COUNTS))
        self.registry.register(Asking(self._sources))

    def _sources(self) -> Iterator["Source"]:
        yield self._supervisor
        yield self._broker
        with suppress(SagaError):  # nothing runs any more, or a version's code is gone
            yield from self._saga_databases().values()

    def _running(self) -> list[ProcessInfo]:
        return read_system(self._data).processes

    def _groups(self) -> dict[str, list[str]]:
        """Return what runs by its consumer group, with the topics that it reads."""
        read = ((one.deployed, one.topic) for one in self._running())
        return {group: topics.split() for group, topics in read if group and topics}

    def _processes_now(self) -> Iterator["Sample"]:
        from ..metrics.catalogue import INSTANCES, RESTARTS

        running = self._running()
        states = Counter((one.deployed or one.name, one.state) for one in running)
        restarts = Counter[str]()
        for one in running:
            restarts[one.deployed or one.name] += one.restarts
        yield from ((INSTANCES, labels, count) for labels, count in states.items())
        yield from ((RESTARTS, (name,), count) for name, count in restarts.items())

    def _saga_databases(self) -> dict[str, "Source"]:
        """Return the databases of the sagas that are hosted now, by their URLs."""
        from ..metrics import stored
        from ..metrics.collecting import Source

        found = {}
        for one in self._running():
            if one.kind == "saga" and one.version:
                stack = self._stack(one.version)
                url = self._settings.database_url(stack.database)
                ask = partial(stored.ask, url)
                known = self._databases.get(url)
                found[url] = known or Source(f"the database of {stack.service}", ask)
        self._databases = found
        return found

    @lru_cache(maxsize=100)  # noqa: B019 - there is one of us in a process, until its end
    def _stack(self, version: str) -> Stack:
        return read_stack(self._data / CODE / version / STACK_FILE)
