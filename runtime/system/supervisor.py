"""The supervisor: keeps the broker, the functions, the sagas and the adapters running.

What is to run is in the data directory (`write_wanted`); whoever deploys changes it. The processes
come from a fork server that has already imported the libraries, so that ten of them start in the
time of one.
"""

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from ..database.sqlite import sqlite_file
from ..errors import SagaError, first_line
from ..polling import poll_until
from ..settings import Settings
from .broker import SystemBroker
from .child import DRAIN_TIMEOUT, Child
from .code import STACK_FILE
from .guarded import Guarded
from .launch import Host, Launch, elsewhere, start_fork_server
from .listening import Listening
from .measuring import COUNTS, metrics_process, needed_to_count
from .preflight import check_first
from .process import Kind, ProcessInfo, ProcessState
from .recovery import Recovery, begin
from .rotation import remove_gone
from .scheduling import Scheduling
from .stack import Stack, read_by, read_stack, topics, widen
from .state import (
    CODE,
    Hold,
    System,
    end_leftovers,
    forget_system,
    identity,
    is_published,
    lock_system,
    write_system,
)
from .wanted import Wanted, read_wanted, wanted_changed_at, write_wanted

log = logging.getLogger(__name__)

Prepare = Callable[[Mapping[Path, Stack]], dict[str, Wanted]]
OnReady = Callable[[Mapping[str, Wanted]], None]

RUN = "run"  # the folder of sockets in the data directory
TICK = 0.1  # seconds between two looks at the processes
LOOK_EVERY = 10  # ticks between two looks at databases, and at the load


class Supervisor:
    """Runs a system on a data directory until it is told to stop.

    `prepare` makes the code of the stacks' present versions, and returns the instances that are
    wanted at first, by name; unless `recover` has others to bring back. `restore` sees
    that a version's code is there when it is needed again.
    """

    def __init__(
        self,
        settings: Settings,
        broker: str,
        prepare: Prepare,
        recover: Callable[[], Recovery] = Recovery,
        restore: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.settings = settings
        self.data = settings.saga_data.absolute()
        self.logs, self.health = self.data / "logs", self.data / "health"
        self._context = multiprocessing.get_context("forkserver")
        self.broker = SystemBroker(broker, settings, self.data, self._context)
        self.children: list[Child] = []
        self.listening = Listening(settings.saga_host)
        self._prepare, self._recover, self._restore = prepare, recover, restore
        self._recovery = Recovery()
        self._first: dict[str, Stack] = {}  # of what is started, by name
        self._topics: dict[str, int] = {}
        self._wanted: dict[str, Wanted] = {}
        self._wanted_at = (0, 0)
        self._secrets: set[str] = set()
        self._stop, self._to_forget = threading.Event(), False
        self._hold: Hold | None = None
        self._state: ProcessState = "starting"
        self._refused: dict[str, ProcessInfo] = {}  # what is wanted, and can't be started
        self._databases: set[Path] = set()  # files of what has been started
        self._guarded = Guarded()
        self._scheduling = Scheduling(wanted=settings.saga_batch_work)
        self._announced = self._unpublished = False

    def run(self, on_ready: OnReady = lambda _: None) -> None:
        """Start everything and supervise it until SIGTERM or SIGINT, then drain and stop.

        `on_ready` is called once, when all processes do their work, with the instances that are
        wanted then, by their names. Raises a `SagaError` when the data directory or a port is
        taken, a stack file is wrong, SQLite is too old or the broker can't be reached; and, once
        all has stopped, when the data directory or a database was removed meanwhile.
        """
        with lock_system(self.data) as self._hold:
            end_leftovers(self.data)
            self._recovery = self._recover()
            self.stacks, self._first = begin(self.settings, self._recovery)
            self._secrets = {name for one in self._first.values() for name in one.all_secrets()}
            self.listening.on_all(s for name, s in self._first.items() if name == s.service)
            check_first(self._first, self.settings)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._told_to_stop)
            self.logs.mkdir(exist_ok=True)
            self.health.mkdir(exist_ok=True)
            self._publish()  # `saga down` has to find what only begins to start
            try:
                self._start_all()
                self._state = "ready"
                for tick in count():
                    if self._stop.wait(TICK):
                        break
                    self._hold.check(() if tick % LOOK_EVERY else self._databases)
                    self._guarded("what is wanted", self._reconcile)
                    self._guarded("what runs", lambda: self._check_all(on_ready))
                    if not tick % LOOK_EVERY:
                        self._guarded("the load", self._look_at_load)
            except KeyboardInterrupt:  # a start that is broken off
                log.warning("stopped before it had started")
            finally:
                self._stop_all()
                if not self._is_lost():
                    forget_system(self.data, for_good=self._to_forget)

    def _look_at_load(self) -> None:
        self._scheduling.look([c.info.pid for c in self.children if c.info.pid is not None])

    def _told_to_stop(self, number: int, _: object) -> None:
        self._to_forget |= number == signal.SIGINT
        self._stop.set()
        if self._state == "starting":  # it may be waiting for what never comes
            raise KeyboardInterrupt

    def _start_all(self) -> None:
        start_fork_server(self._context, self.data / RUN, needed_to_count(self.settings))
        wanted = self._prepare(self.stacks) if self._recovery.wanted is None else None
        self._topics = elsewhere(self._context, topics, [*self.stacks.values()])
        if self.broker.is_own:
            self._start_broker()
        else:
            self.broker.create_topics(self._topics)
        if wanted is not None:  # only now: what can't be started is not brought back
            write_wanted(self.data, wanted)
        self.children += metrics_process(self.broker.settings, self.data, self._context)
        self._reconcile()

    def _start_broker(self) -> None:
        info = ProcessInfo(name="broker", kind="broker", port=self.broker.port)
        child = Child(info, lambda: self.broker.start(self._all_topics()), self.broker.log_file)
        self.children.append(child)
        child.start()

    def _all_topics(self) -> dict[str, int]:
        """List all topics with their partitions, those of versions that came later, too."""
        partitions = dict(self._topics)
        for child in self.children:
            widen(partitions, read_by((child.info.topic or "").split(), child.partitions))
        return partitions

    def _reconcile(self) -> None:
        """Start the instances that are wanted and missing; tell those not wanted to stop."""
        changed_at = wanted_changed_at(self.data)
        if changed_at is None:  # a cleaner was here
            write_wanted(self.data, self._wanted)
        elif changed_at != self._wanted_at:
            self._wanted, self._wanted_at = read_wanted(self.data), changed_at
            self._refused = {}
            self._unpublished = True
            remove_gone(self.logs, {*self._wanted, *(child.info.name for child in self.children)})
        for child in self.children:
            if child.info.deployed and child.info.state != "stopping":
                kept = self._wanted.get(child.info.name)
                if kept is None or kept.version != child.info.version:
                    child.stop()
                    self._unpublished = True
        there = {*self._refused, *(child.info.name for child in self.children)}
        for name, wanted in self._wanted.items():
            if name not in there:
                self._add_wanted(name, wanted)
                self._unpublished = True
        stay = (child.info for child in self.children if child.info.state != "stopping")
        self.listening.only_on(info.port for info in stay)

    def _add_wanted(self, name: str, wanted: Wanted) -> None:
        """Start an instance; one that can't be started is told, and stops no other."""
        try:
            child = self._child(name, wanted)
            child.try_start()
            self.children.append(child)
        except Exception as error:
            known = isinstance(error, SagaError)
            problem = str(error) if known else first_line(error)
            log.error("%s can't be started: %s", name, problem, exc_info=not known)
            info = _info(name, self._kind(wanted.deployed), wanted)
            self._refused[name] = info.model_copy(update={"state": "unhealthy", "problem": problem})

    def _kind(self, deployed: str) -> Kind:
        """Tell what an instance is that can't be read, by what there was at the start."""
        entry, stack = deployed.partition(".")[2], self._first.get(deployed)
        return stack.kind(entry or None) if stack else "function" if entry else "adapter"

    def _child(self, name: str, wanted: Wanted) -> Child:
        code = self.data / CODE / wanted.version
        stack = read_stack(code / STACK_FILE)
        entry = wanted.deployed.partition(".")[2] or None
        self._secrets |= stack.all_secrets()
        health = self.health / name if entry else None
        own = {"saga_code": code, "saga_health": health, "saga_counts": self.data / COUNTS / name}
        host = Host(
            stack,
            entry,
            self.broker.settings.model_copy(update={**own, "saga_replicas": wanted.replicas}),
            self.logs / f"{name}.log",
            frozenset(self._secrets.difference(stack.resources(entry).secrets)),
            None if entry else self.listening.on(stack),
        )
        info = _info(name, stack.kind(entry), wanted)
        info.port = None if entry else stack.port
        partitions = stack.entries[entry].width(wanted.replicas) if entry else 1
        if database := sqlite_file(self.settings.database_url(stack.database)):
            self._databases.add(database)

        def start() -> Any:
            if info.restarts:  # before that, it has just been unpacked
                self._restore(wanted.version)
            return Launch(self._context, replace(host, beside=self._is_beside(info)))()

        return Child(info, start, host.log_file, partitions, health)

    def _is_beside(self, info: ProcessInfo) -> bool:
        """Tell whether another adapter answers at this one's port."""
        others = [child.info for child in self.children if child.info is not info]
        return any(other.port == info.port and other.state == "ready" for other in others)

    def _check_all(self, on_ready: OnReady) -> None:
        changed = [self._guarded(child.info.name, child.check) for child in self.children]
        self.children = [child for child in self.children if child.info.state != "stopped"]
        if any(changed) or self._unpublished or not is_published(self.data):
            self._publish()
        if not self._announced and all(c.info.state == "ready" for c in self.children):
            self._announced = True
            on_ready(self._wanted)

    def _stop_all(self) -> None:
        """Stop taking orders first, then the functions, and the broker that they drain to last."""
        self._state = "stopping"
        self.listening.only_on(())
        if self._is_lost():  # a broker that drains would make its files anew
            for child in self.children:
                child.signal(signal.SIGKILL)
        for kinds in (("adapter", "metrics"), ("function", "saga"), ("broker",)):
            group = [child for child in self.children if child.info.kind in kinds]
            for child in group:
                child.stop()
            self._publish()
            poll_until(lambda: not any(c.alive() for c in group), DRAIN_TIMEOUT, 0.02)  # noqa: B023
            for child in group:
                child.kill()

    def _system(self) -> System:
        own = ProcessInfo(name="supervisor", kind="supervisor", state=self._state)
        own.runs_as(os.getpid())
        processes = [own, *(child.info for child in self.children), *self._refused.values()]
        return System(
            folder=identity(self.data),
            broker=self.broker.address,
            broker_kind=self.broker.kind,
            stacks=self.settings.saga_stacks.absolute(),
            processes=processes,
            told=self._recovery.told,
        )

    def _is_lost(self) -> bool:
        return self._hold is not None and self._hold.lost

    def _publish(self) -> None:
        if self._is_lost():
            return  # what is there now may be another system's
        try:
            write_system(self.data, self._system())
            self._unpublished = False
        except OSError as error:
            if not self._unpublished:
                log.error("the system file can't be written: %s", error)
            self._unpublished = True


def _info(name: str, kind: Kind, wanted: Wanted) -> ProcessInfo:
    return ProcessInfo(name=name, kind=kind, deployed=wanted.deployed, version=wanted.version)
