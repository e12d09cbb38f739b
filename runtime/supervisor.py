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
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from saga.runtime import system
from saga.runtime.broker import HOST, free_port, start_embedded
from saga.runtime.errors import BrokerUnavailable, StackError
from saga.runtime.function import Function
from saga.runtime.logs import configure_logging
from saga.runtime.saga import Retry
from saga.runtime.settings import EMBEDDED, KAFKA, Settings
from saga.runtime.stack import Stack, read_stacks, topics
from saga.runtime.system import ProcessInfo, System

log = logging.getLogger(__name__)

PRELOAD = ["saga.runtime.host", "sanic_ext"]
TICK = 0.1  # seconds between two looks at the processes
DRAIN_TIMEOUT = 10.0  # seconds that a process has to end by itself
HEALTHY_AFTER = 10.0  # seconds after which a restart no longer counts as one of a series
BACK_OFF = Retry(first=0.2, longest=10.0)
LOG_LIMIT = 10 * 1024 * 1024  # bytes; a larger log is set aside at the next start

Target = Callable[[Connection], None]


@dataclass
class Child:
    """A process under supervision, and how to start it."""

    info: ProcessInfo
    launch: Callable[[], Any]
    process: Any = None
    reports: Connection | None = None
    failures: int = 0
    started_at: float = 0.0
    restart_at: float = field(default=0.0)

    def alive(self) -> bool:
        """Tell whether the process runs."""
        if isinstance(self.process, subprocess.Popen):
            return self.process.poll() is None
        return self.process is not None and bool(self.process.is_alive())

    def signal(self, number: signal.Signals) -> None:
        """Send a signal if the process still runs."""
        if self.alive():
            os.kill(self.process.pid, number)


class Supervisor:
    """Runs a system on a data directory until it is told to stop."""

    def __init__(self, settings: Settings, broker: str) -> None:
        self.settings = settings
        self.data = settings.saga_data.absolute()
        self.logs = self.data / "logs"
        self.stacks = read_stacks(settings.saga_stacks)
        self.broker = broker
        self.owns_broker = broker in (EMBEDDED, KAFKA)
        self.address = f"{HOST}:{free_port()}" if self.owns_broker else broker
        self.children: list[Child] = []
        self._replicas: dict[str, Callable[[int], None]] = {}
        self._stop = threading.Event()
        self._scale = threading.Event()
        self._announced = False

    def run(self, on_ready: Callable[[System], None] = lambda _: None) -> None:
        """Start everything and supervise it until SIGTERM or SIGINT, then drain and stop.

        `on_ready` is called once, when all processes do their work. Raises a `SagaError` when the
        data directory or a port is taken, a stack file is wrong or the broker can't be reached.
        """
        with system.lock(self.data):
            self._check_ports()
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: self._stop.set())
            signal.signal(signal.SIGHUP, lambda *_: self._scale.set())
            self.logs.mkdir(exist_ok=True)
            system.end_leftovers(self.data)
            try:
                self._start_all()
                while not self._stop.wait(TICK):
                    if self._scale.is_set():
                        self._scale.clear()
                        self._rescale(system.read_replicas(self.data))
                    self._look_after_all(on_ready)
            finally:
                self._stop_all()
                system.forget(self.data)

    def _check_ports(self) -> None:
        for stack in self.stacks:
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
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOAD)
        settings = self.settings.model_copy(update={"kafka_bootstrap_servers": self.address})
        if self.broker == EMBEDDED:
            settings = self.settings.on_embedded_broker(self.address)
        if self.owns_broker:
            self._add("broker", "broker", lambda: self._start_broker(settings))
        else:
            self._create_topics(settings)
        for stack in self.stacks:
            for function, entry in stack.load():
                grow = partial(self._add_replica, context, stack, function, settings)
                self._replicas[function.name] = grow
                for number in range(1, entry.replicas + 1):
                    grow(number)
            if stack.adapter is not None:
                log_file = self.logs / f"{stack.service}.log"
                launch = _Launch(context, _HostAdapter(stack, settings, log_file))
                self._add(stack.service, "adapter", launch, port=stack.port)
        self._publish()

    def _add_replica(
        self, context: Any, stack: Stack, function: Function, settings: Settings, number: int
    ) -> None:
        name = function.name if number == 1 else f"{function.name}-{number}"
        short = function.name.partition(".")[2]
        launch = _Launch(context, _HostFunction(stack, short, settings, self.logs / f"{name}.log"))
        self._add(name, "function", launch, topic=" ".join(function.topics) or None)

    def _rescale(self, wanted: dict[str, int]) -> None:
        """Add the replicas that are missing; tell those that are too many to stop."""
        for function, count in wanted.items():
            running = [child for child in self.children if _function_of(child) == function]
            for number in range(len(running) + 1, count + 1):
                self._replicas[function](number)
            for child in running[count:]:
                child.info.state = "stopping"
                child.signal(signal.SIGTERM)
        self._publish()

    def _add(
        self,
        name: str,
        kind: system.Kind,
        launch: Callable[[], Any],
        *,
        port: int | None = None,
        topic: str | None = None,
    ) -> None:
        child = Child(ProcessInfo(name=name, kind=kind, port=port, topic=topic), launch)
        self.children.append(child)
        self._start(child)

    def _start(self, child: Child) -> None:
        _set_aside(self.logs / f"{child.info.name}.log")
        child.started_at = time.monotonic()
        child.info.state = "starting"
        launched = child.launch()
        if isinstance(launched, subprocess.Popen):
            child.process, child.info.state = launched, "ready"
            child.info.port = int(self.address.rpartition(":")[2])
        else:
            child.process, child.reports = launched
        child.info.pid = child.process.pid

    def _start_broker(self, settings: Settings) -> "subprocess.Popen[bytes]":
        process = self._launch_broker()
        try:
            self._create_topics(settings)
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
        from saga.runtime.kafka_server import start_kafka

        return start_kafka(port, self.data / "kafka", log_file)

    def _create_topics(self, settings: Settings) -> None:
        # Imported late: it brings quixstreams along, which `saga --help` need not wait for.
        from saga.runtime.kafka import create_topics

        create_topics(settings, topics(self.stacks))

    def _look_after_all(self, on_ready: Callable[[System], None]) -> None:
        changed = [self._look_after(child) for child in self.children]
        self.children = [child for child in self.children if child.info.state != "stopped"]
        if any(changed):
            self._publish()
        if not self._announced and all(c.info.state == "ready" for c in self.children):
            self._announced = True
            on_ready(self._system())

    def _look_after(self, child: Child) -> bool:
        """Take note of what a process did, and start it again when it is time; True if changed."""
        if child.info.state == "stopping":
            if not child.alive():
                child.info.state = "stopped"
            return child.info.state == "stopped"
        if child.info.state == "restarting":
            if time.monotonic() < child.restart_at:
                return False
            return self._restart(child)
        if not child.alive():
            return self._plan_restart(child, _exit_reason(child.process))
        if child.info.state == "starting" and child.reports is not None and child.reports.poll():
            try:
                child.reports.recv()
            except EOFError:
                return False
            child.info.state = "ready"
            return True
        return False

    def _restart(self, child: Child) -> bool:
        child.info.restarts += 1
        try:
            self._start(child)
        except BrokerUnavailable as error:
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
        for kind in ("adapter", "function", "broker"):
            group = [child for child in self.children if child.info.kind == kind]
            for child in group:
                child.info.state = "stopping"
                child.signal(signal.SIGTERM)
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
        system.write(self.data, self._system())


@dataclass(frozen=True)
class _HostFunction:
    stack: Stack
    function: str
    settings: Settings
    log_file: Path

    def __call__(self, reports: Connection) -> None:
        from saga.runtime import host

        _settle(self.log_file)
        host.set_environment(self.stack.functions[self.function].environment)
        configure_logging(self.settings)
        host.run_function(self.stack, self.function, self.settings, lambda: reports.send("ready"))


@dataclass(frozen=True)
class _HostAdapter:
    stack: Stack
    settings: Settings
    log_file: Path

    def __call__(self, reports: Connection) -> None:
        from saga.runtime import host

        _settle(self.log_file)
        configure_logging(self.settings)
        host.run_adapter(self.stack, self.settings, lambda: reports.send("ready"))


@dataclass(frozen=True)
class _Launch:
    context: Any
    target: Target

    def __call__(self) -> Any:
        ours, theirs = self.context.Pipe(duplex=False)
        process = self.context.Process(target=self.target, args=(theirs,))
        process.start()
        theirs.close()
        return process, ours


def _settle(log_file: Path) -> None:
    """Make this process independent of the terminal, and let it end when the supervisor is gone."""
    os.setpgid(0, 0)
    output = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(output, sys.stdout.fileno())
    os.dup2(output, sys.stderr.fileno())
    os.close(output)
    threading.Thread(target=_end_without_parent, daemon=True).start()


def _end_without_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _function_of(child: Child) -> str | None:
    """Return the function that a child is a replica of."""
    return child.info.name.partition("-")[0] if child.info.kind == "function" else None


def _set_aside(log_file: Path) -> None:
    if log_file.exists() and log_file.stat().st_size > LOG_LIMIT:
        log_file.replace(log_file.with_suffix(".log.1"))


def _exit_reason(process: Any) -> str:
    code = process.returncode if isinstance(process, subprocess.Popen) else process.exitcode
    if code is not None and code < 0:
        return signal.Signals(-code).name
    return f"exit code {code}"
