"""What a running system tells about itself: one file in its data directory, and one lock.

The supervisor writes, everybody else reads. The lock is held as long as the supervisor lives, so a
file left behind by a killed one is recognised.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import psutil
from filelock import FileLock, Timeout
from pydantic import BaseModel, TypeAdapter

from ..errors import NotRunning, SagaError

CODE = "code"  # the folder of unpacked versions in the data directory

# `is_locked` takes a shared lock for less than a millisecond: who comes upon that tries again.
HOLD_TIMEOUT = 0.1  # seconds
POLL = 0.005  # seconds

Kind = Literal["supervisor", "broker", "function", "saga", "adapter"]
ProcessState = Literal["starting", "ready", "restarting", "stopping", "stopped"]


class AlreadyRunning(SagaError):
    """Another supervisor runs on this data directory, or another deploy is going on from it."""


class ProcessInfo(BaseModel):
    """One process of the system; `topic` lists what a function or saga reads.

    `deployed` names the function, saga or adapter that it is an instance of.
    """

    name: str
    kind: Kind
    deployed: str | None = None
    version: str | None = None
    pid: int | None = None
    state: ProcessState = "starting"
    restarts: int = 0
    port: int | None = None
    topic: str | None = None


class System(BaseModel):
    """The system as its supervisor saw it last.

    `broker` is the broker's address, and `broker_kind` what `saga up --broker` was told.
    """

    broker: str
    broker_kind: str | None = None  # of a system that an earlier version has started
    stacks: Path
    processes: list[ProcessInfo]

    @property
    def ready(self) -> bool:
        """Whether every process does its work."""
        return all(process.state == "ready" for process in self.processes)

    @property
    def supervisor(self) -> int:
        """The supervisor's process number."""
        return next(p.pid for p in self.processes if p.kind == "supervisor" and p.pid)

    def port(self, name: str) -> int:
        """Return an adapter's port; raise `NotRunning` when there is no such adapter."""
        for process in self.processes:
            if process.kind == "adapter" and process.deployed == name and process.port:
                return process.port
        raise NotRunning(f"no adapter {name!r} in this system")


class Wanted(BaseModel):
    """An instance that is to run: of what, in which version."""

    deployed: str
    version: str


def instance_name(deployed: str, number: int) -> str:
    """Name an instance: `order.create_order`, `order.create_order-2` and so on."""
    return deployed if number == 1 else f"{deployed}-{number}"


_WANTED = TypeAdapter(dict[str, Wanted])


def write_system(data: Path, system: System) -> None:
    """Replace the system file in one step, so that no reader sees half of it."""
    _replace(_file(data), system.model_dump_json(indent=1).encode())


def read_system(data: Path) -> System:
    """Return the running system; raise `NotRunning` when none runs on this directory."""
    try:
        system = System.model_validate_json(_file(data).read_text())
    except FileNotFoundError:
        system = None
    if system is None or not is_locked(data):
        raise NotRunning(f"no system runs on {data}: start one with `saga up`")
    return system


def forget_system(data: Path) -> None:
    """Remove the system file, and what was wanted of the system meanwhile."""
    _file(data).unlink(missing_ok=True)
    _wanted(data).unlink(missing_ok=True)


def read_wanted(data: Path) -> dict[str, Wanted]:
    """Return the instances that are wanted, by their names; raise `NotRunning` in no system."""
    try:
        return _WANTED.validate_json(_wanted(data).read_bytes())
    except FileNotFoundError:
        raise NotRunning(f"no system runs on {data}: start one with `saga up`") from None


def write_wanted(data: Path, wanted: dict[str, Wanted]) -> None:
    """Say which instances are wanted; the supervisor starts and stops what differs."""
    _replace(_wanted(data), _WANTED.dump_json(wanted, indent=1))


def wanted_changed_at(data: Path) -> tuple[int, int] | None:
    """Return what `write_wanted` changes with every call, None if the file is gone."""
    try:
        found = _wanted(data).stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_ino  # two calls may come within one tick of the clock


@contextmanager
def lock_system(data: Path) -> Iterator[None]:
    """Hold the data directory; raise `AlreadyRunning` when somebody else does."""
    with _held(
        data / "lock",
        f"a system already runs on {data}: see `saga ps`, stop it with `saga down`, "
        "or choose another directory with --data",
    ):
        yield


@contextmanager
def changing(data: Path) -> Iterator[None]:
    """Be the only one who deploys from this data directory; raise `AlreadyRunning` otherwise."""
    with _held(data / "deploy.lock", f"another deploy is going on from {data}: wait for its end"):
        yield


@contextmanager
def _held(path: Path, refusal: str) -> Iterator[None]:
    try:
        held = FileLock(path).acquire(HOLD_TIMEOUT, POLL)
    except Timeout:
        raise AlreadyRunning(refusal) from None
    with held:
        yield


def is_locked(data: Path) -> bool:
    """Tell whether a supervisor holds the data directory."""
    # filelock knows no shared lock: a look by it would be in the way of others who look, and would
    # need the right to write. Imported late: the command line is there where this module is not.
    import fcntl

    try:
        with (data / "lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True


def end_leftovers(data: Path) -> None:
    """End what a killed supervisor may have left running; nothing of anybody else's is touched."""
    with suppress(FileNotFoundError, ValueError):
        system = System.model_validate_json(_file(data).read_text())
        written = _file(data).stat().st_mtime
        for process in system.processes:
            if process.pid and process.kind != "supervisor":
                _end_if_older(process.pid, written)
        forget_system(data)


def _end_if_older(pid: int, moment: float) -> None:
    """End a process unless it was born after `moment`: its number may belong to another by now."""
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        if process.create_time() <= moment:
            process.send_signal(signal.SIGTERM)
            with suppress(psutil.TimeoutExpired):
                process.wait(5)
            process.kill()


def _file(data: Path) -> Path:
    return data / "system.json"


def _wanted(data: Path) -> Path:
    return data / "wanted.json"


def _replace(path: Path, text: bytes) -> None:
    fresh = path.with_suffix(f".{os.getpid()}")
    fresh.write_bytes(text)
    fresh.replace(path)
