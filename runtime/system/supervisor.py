"""The supervisor: keeps the broker, the functions, the sagas and the adapters running.

What is to run is in the data directory (`write_wanted`); whoever deploys changes it. The processes
come from a fork server that has already imported the libraries, so that ten of them start in the
time of one.
"""

import logging
import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from ..errors import StackError
from ..polling import poll_until
from ..secrets import read_secrets
from ..settings import Settings
from .broker import SystemBroker
from .child import DRAIN_TIMEOUT, Child
from .code import STACK_FILE
from .launch import Host, Launch, elsewhere, start_fork_server
from .stack import Stack, find_stacks, read_by, read_stack, topics
from .state import (
    CODE,
    ProcessInfo,
    ProcessState,
    System,
    Wanted,
    end_leftovers,
    forget_system,
    lock_system,
    read_wanted,
    wanted_changed_at,
    write_system,
    write_wanted,
)

log = logging.getLogger(__name__)

Prepare = Callable[[Mapping[Path, Stack]], dict[str, Wanted]]
OnReady = Callable[[Mapping[str, str]], None]

TICK = 0.1  # seconds between two looks at the processes


class Supervisor:
    """Runs a system on a data directory until it is told to stop.

    `prepare` makes the code of the stacks' present versions, and returns the instances that are
    wanted at first, by name.
    """

    def __init__(self, settings: Settings, broker: str, prepare: Prepare) -> None:
        self.settings = settings
        self.data = settings.saga_data.absolute()
        self.logs = self.data / "logs"
        self.health = self.data / "health"
        self.stacks = find_stacks(settings.saga_stacks)
        self._context = multiprocessing.get_context("forkserver")
        self.broker = SystemBroker(broker, settings, self.data, self._context)
        self.children: list[Child] = []
        self._prepare = prepare
        self._topics: dict[str, int] = {}
        self._wanted: dict[str, Wanted] = {}
        self._wanted_at = (0, 0)
        self._secrets = {name for stack in self.stacks.values() for name in stack.all_secrets()}
        self._stop = threading.Event()
        self._state: ProcessState = "ready"
        self._announced = False
        self._unpublished = False

    def run(self, on_ready: OnReady = lambda _: None) -> None:
        """Start everything and supervise it until SIGTERM or SIGINT, then drain and stop.

        `on_ready` is called once, when all processes do their work, with the versions that run, by
        the names of what is deployed. Raises a `SagaError` when the data directory or a port is
        taken, a stack file is wrong or the broker can't be reached.
        """
        with lock_system(self.data):
            self._check_ports()
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: self._stop.set())
            self.logs.mkdir(exist_ok=True)
            self.health.mkdir(exist_ok=True)
            end_leftovers(self.data)
            try:
                self._start_all()
                while not self._stop.wait(TICK):
                    self._reconcile()
                    self._check_all(on_ready)
            finally:
                self._stop_all()
                forget_system(self.data)

    def _check_ports(self) -> None:
        for stack in self.stacks.values():
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    if stack.port is not None:
                        probe.bind((self.settings.saga_host, stack.port))
                except OSError as error:
                    raise StackError(
                        f"port {stack.port} of {stack.service} can't be had: {error.strerror}"
                    ) from None

    def _start_all(self) -> None:
        start_fork_server(self._context)
        for stack in self.stacks.values():
            for entry in (None, *stack.entries):
                read_secrets(stack.resources(entry).secrets)
        write_wanted(self.data, self._prepare(self.stacks))
        self._topics = elsewhere(self._context, topics, [*self.stacks.values()])
        if self.broker.is_own:
            self._start_broker()
        else:
            self.broker.create_topics(self._all_topics())
        self._reconcile()

    def _start_broker(self) -> None:
        info = ProcessInfo(name="broker", kind="broker", port=self.broker.port)
        launch = lambda: self.broker.start(self._all_topics())  # noqa: E731
        child = Child(info, launch, self.broker.log_file)
        self.children.append(child)
        child.start()

    def _all_topics(self) -> dict[str, int]:
        """List all topics with their partitions, those of versions that came later, too."""
        partitions = dict(self._topics)
        for child in self.children:
            partitions |= read_by((child.info.topic or "").split(), child.partitions)
        return partitions

    def _reconcile(self) -> None:
        """Start the instances that are wanted and missing; tell those not wanted to stop."""
        changed_at = wanted_changed_at(self.data)
        if changed_at not in (None, self._wanted_at):
            self._wanted, self._wanted_at = read_wanted(self.data), changed_at
            self._unpublished = True
        for child in self.children:
            if child.info.deployed and child.info.state != "stopping":
                kept = self._wanted.get(child.info.name)
                if kept is None or kept.version != child.info.version:
                    child.stop()
                    self._unpublished = True
        there = {child.info.name for child in self.children}
        for name, wanted in list(self._wanted.items()):
            if name not in there:
                self._add_wanted(name, wanted)
                self._unpublished = True

    def _add_wanted(self, name: str, wanted: Wanted) -> None:
        try:
            child = self._child(name, wanted)
        except StackError as error:  # its deploy tells that it did not start
            log.error("%s can't be started: %s", name, error)
            del self._wanted[name]
            return
        self.children.append(child)
        child.try_start()

    def _child(self, name: str, wanted: Wanted) -> Child:
        code = self.data / CODE / wanted.version
        stack = read_stack(code / STACK_FILE)
        entry = wanted.deployed.partition(".")[2] or None
        self._secrets |= stack.all_secrets()
        health = self.health / name if entry else None
        own = {"saga_code": code, "saga_health": health}
        host = Host(
            stack,
            entry,
            self.broker.settings.model_copy(update=own),
            self.logs / f"{name}.log",
            frozenset(self._secrets.difference(stack.resources(entry).secrets)),
        )
        info = ProcessInfo(
            name=name,
            kind=stack.kind(entry),
            deployed=wanted.deployed,
            version=wanted.version,
            port=None if entry else stack.port,
        )
        partitions = stack.entries[entry].partitions if entry else 1
        return Child(info, Launch(self._context, host), host.log_file, partitions, health)

    def _check_all(self, on_ready: OnReady) -> None:
        changed = [child.check() for child in self.children]
        self.children = [child for child in self.children if child.info.state != "stopped"]
        if any(changed) or self._unpublished:
            self._publish()
        if not self._announced and all(c.info.state == "ready" for c in self.children):
            self._announced = True
            on_ready({wanted.deployed: wanted.version for wanted in self._wanted.values()})

    def _stop_all(self) -> None:
        """Stop taking orders first, then the functions, and the broker that they drain to last."""
        self._state = "stopping"
        for kinds in (("adapter",), ("function", "saga"), ("broker",)):
            group = [child for child in self.children if child.info.kind in kinds]
            for child in group:
                child.stop()
            self._publish()
            poll_until(lambda: not any(c.alive() for c in group), DRAIN_TIMEOUT, 0.02)  # noqa: B023
            for child in group:
                child.kill()

    def _system(self) -> System:
        own = ProcessInfo(name="supervisor", kind="supervisor", pid=os.getpid(), state=self._state)
        processes = [own, *(child.info for child in self.children)]
        return System(
            broker=self.broker.address,
            broker_kind=self.broker.kind,
            stacks=self.settings.saga_stacks.absolute(),
            processes=processes,
        )

    def _publish(self) -> None:
        try:
            write_system(self.data, self._system())
            self._unpublished = False
        except OSError as error:
            if not self._unpublished:
                log.error("the system file can't be written: %s", error)
            self._unpublished = True
