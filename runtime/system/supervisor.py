"""The supervisor: starts the broker, the functions and the adapters, and keeps them running.

The processes come from a fork server that has already imported the libraries, so that ten of them
start in the time of one.
"""

import logging
import multiprocessing
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from ..errors import BrokerUnavailable, StackError
from ..kafka.embedded import HOST, free_port, start_embedded
from ..saga import Retry
from ..secrets import read_secrets
from ..settings import EMBEDDED, KAFKA, Settings
from .child import Child, Host, Launch, exit_reason, rotate
from .code import STACK_FILE
from .stack import Stack, find_stacks, read_by, read_stack, topics
from .state import (
    CODE,
    ProcessInfo,
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

PRELOAD = ["saga.runtime.system.host", "sanic_ext"]
TICK = 0.1  # seconds between two looks at the processes
DRAIN_TIMEOUT = 10.0  # seconds that a process has to end by itself
HEALTHY_AFTER = 10.0  # seconds after which a restart no longer counts as one of a series
BACK_OFF = Retry(first=0.2, longest=10.0)


class Supervisor:
    """Runs a system on a data directory until it is told to stop.

    `prepare` makes the code of the stacks' present versions, and returns the instances that are
    wanted at first, by name.
    """

    def __init__(self, settings: Settings, broker: str, prepare: Prepare) -> None:
        self.settings = settings
        self.data = settings.saga_data.absolute()
        self.logs = self.data / "logs"
        self.stacks = find_stacks(settings.saga_stacks)
        self.broker = broker
        self._prepare = prepare
        self.owns_broker = broker in (EMBEDDED, KAFKA)
        self.address = f"{HOST}:{free_port()}" if self.owns_broker else broker
        self.children: list[Child] = []
        self._context = multiprocessing.get_context("forkserver")
        self._hosted = settings.on_broker(self.address, broker)
        self._wanted: dict[str, Wanted] = {}
        self._wanted_at = (0, 0)
        self._secrets = {name for stack in self.stacks.values() for name in stack.all_secrets()}
        self._stop = threading.Event()
        self._announced = False
        self._unpublished = False

    def run(self, on_ready: OnReady = lambda _: None) -> None:
        """Start everything and supervise it until SIGTERM or SIGINT, then drain and stop.

        `on_ready` is called once, when all processes do their work, with the versions that run by
        what is deployed. Raises a `SagaError` when the
        data directory or a port is taken, a stack file is wrong or the broker can't be reached.
        """
        with lock_system(self.data):
            self._check_ports()
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: self._stop.set())
            self.logs.mkdir(exist_ok=True)
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
        self._context.set_forkserver_preload(PRELOAD)
        for stack in self.stacks.values():
            for entry in (None, *stack.entries):
                read_secrets(stack.resources(entry).secrets)
        write_wanted(self.data, self._prepare(self.stacks))
        if self.owns_broker:
            self._add(Child(ProcessInfo(name="broker", kind="broker"), self._start_broker))
        else:
            self._create_topics()
        self._reconcile()

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
                    self._end(child)
        there = {child.info.name for child in self.children}
        for name, wanted in self._wanted.items():
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
        try:
            self._start(child)
        except OSError as error:
            self._plan_restart(child, str(error))

    def _end(self, child: Child) -> None:
        child.info.state = "stopping"
        child.stop_by = time.monotonic() + DRAIN_TIMEOUT
        child.signal(signal.SIGTERM)
        self._unpublished = True

    def _child(self, name: str, wanted: Wanted) -> Child:
        code = self.data / CODE / wanted.version
        stack = read_stack(code / STACK_FILE)
        entry = wanted.deployed.partition(".")[2] or None
        self._secrets |= stack.all_secrets()
        host = Host(
            stack,
            entry,
            self._hosted.model_copy(update={"saga_code": code}),
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
        return Child(info, Launch(self._context, host), partitions=partitions)

    def _add(self, child: Child) -> None:
        self.children.append(child)
        self._start(child)

    def _start(self, child: Child) -> None:
        rotate(self.logs / f"{child.info.name}.log")
        child.started_at = time.monotonic()
        child.info.state = "starting"
        launched = child.launch()
        if isinstance(launched, subprocess.Popen):
            child.process, child.info.state = launched, "ready"
            child.info.port = int(self.address.rpartition(":")[2])
        else:
            child.process, child.reports = launched
        child.info.pid = child.process.pid

    def _start_broker(self) -> "subprocess.Popen[bytes]":
        process = self._launch_broker()
        try:
            self._create_topics()
        except BrokerUnavailable:
            process.kill()
            process.wait()
            raise
        return process

    def _launch_broker(self) -> "subprocess.Popen[bytes]":
        port, log_file = int(self.address.rpartition(":")[2]), self.logs / "broker.log"
        if self.broker == EMBEDDED:
            return start_embedded(port, log_file)
        # Imported late: confluent_kafka need not be loaded for `saga --help`.
        from ..kafka.apache import start_kafka

        return start_kafka(port, self.data / "kafka", log_file)

    def _create_topics(self) -> None:
        # Imported late: it brings quixstreams along, which `saga --help` need not wait for.
        from ..kafka.admin import create_topics

        partitions = topics([*self.stacks.values()])
        for child in self.children:  # of versions that came later, too: a broker may have forgotten
            partitions |= read_by((child.info.topic or "").split(), child.partitions)
        create_topics(self._hosted, partitions)

    def _check_all(self, on_ready: OnReady) -> None:
        changed = [self._check(child) for child in self.children]
        self.children = [child for child in self.children if child.info.state != "stopped"]
        if any(changed) or self._unpublished:
            self._publish()
        if not self._announced and all(c.info.state == "ready" for c in self.children):
            self._announced = True
            on_ready({wanted.deployed: wanted.version for wanted in self._wanted.values()})

    def _check(self, child: Child) -> bool:
        """Take note of what a process did, and start it again when it is time; True if changed."""
        if child.info.state == "stopping":
            if not child.alive():
                child.info.state = "stopped"
            elif time.monotonic() > child.stop_by:
                child.signal(signal.SIGKILL)
            return child.info.state == "stopped"
        if child.info.state == "restarting":
            if time.monotonic() < child.restart_at:
                return False
            return self._restart(child)
        if not child.alive():
            return self._plan_restart(child, exit_reason(child.process))
        if child.info.state == "starting" and child.reports is not None and child.reports.poll():
            try:
                child.info.topic = " ".join(child.reports.recv()) or None
            except EOFError:
                return False
            child.info.state = "ready"
            return True
        return False

    def _restart(self, child: Child) -> bool:
        child.info.restarts += 1
        try:
            self._start(child)
        except (BrokerUnavailable, OSError) as error:
            return self._plan_restart(child, str(error))
        return True

    def _plan_restart(self, child: Child, reason: str) -> bool:
        lived = time.monotonic() - child.started_at
        child.failures = 1 if lived > HEALTHY_AFTER else child.failures + 1
        delay = BACK_OFF.delay(child.failures, child.info.name)
        log.warning("%s ended (%s); starting it again in %.1f s", child.info.name, reason, delay)
        child.info.state, child.info.pid = "restarting", None
        child.restart_at = time.monotonic() + delay
        return True

    def _stop_all(self) -> None:
        """Stop taking orders first, then the functions, and the broker that they drain to last."""
        for kinds in (("adapter",), ("function", "saga"), ("broker",)):
            group = [child for child in self.children if child.info.kind in kinds]
            for child in group:
                self._end(child)
            self._publish()
            deadline = time.monotonic() + DRAIN_TIMEOUT
            while any(c.alive() for c in group) and time.monotonic() < deadline:
                time.sleep(0.02)
            for child in group:
                if child.alive():
                    log.warning("%s did not stop in %g s", child.info.name, DRAIN_TIMEOUT)
                    child.signal(signal.SIGKILL)
                child.info.state, child.info.pid = "stopped", None

    def _system(self) -> System:
        own = ProcessInfo(name="supervisor", kind="supervisor", pid=os.getpid(), state="ready")
        processes = [own, *(child.info for child in self.children)]
        return System(
            broker=self.address, stacks=self.settings.saga_stacks.absolute(), processes=processes
        )

    def _publish(self) -> None:
        try:
            write_system(self.data, self._system())
            self._unpublished = False
        except OSError as error:
            if not self._unpublished:
                log.error("the system file can't be written: %s", error)
            self._unpublished = True
