"""What a running system tells about itself: one file in its data directory, and one lock.

The supervisor writes, everybody else reads. The lock is held as long as the supervisor lives, so a
file left behind by a killed one is recognised.
"""

import fcntl
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import psutil
import tenacity
from pydantic import BaseModel, TypeAdapter

from saga.runtime.errors import NotRunning, SagaError

Kind = Literal["supervisor", "broker", "function", "adapter"]
ProcessState = Literal["starting", "ready", "restarting", "stopping", "stopped"]


class AlreadyRunning(SagaError):
    """Another supervisor runs on this data directory."""


class ProcessInfo(BaseModel):
    """One process of the system; `topic` lists what a function reads."""

    name: str
    kind: Kind
    pid: int | None = None
    state: ProcessState = "starting"
    restarts: int = 0
    port: int | None = None
    topic: str | None = None


class System(BaseModel):
    """The system as its supervisor saw it last."""

    broker: str
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
            if process.kind == "adapter" and process.name == name and process.port:
                return process.port
        raise NotRunning(f"no adapter {name!r} in this system")


def write(data: Path, system: System) -> None:
    """Replace the system file in one step, so that no reader sees half of it."""
    path = _file(data)
    fresh = path.with_suffix(f".{os.getpid()}")
    fresh.write_text(system.model_dump_json(indent=1))
    fresh.replace(path)


def read(data: Path) -> System:
    """Return the running system; raise `NotRunning` when none runs on this directory."""
    try:
        system = System.model_validate_json(_file(data).read_text())
    except FileNotFoundError:
        system = None
    if system is None or not is_locked(data):
        raise NotRunning(f"no system runs on {data}: start one with `saga up`")
    return system


def forget(data: Path) -> None:
    """Remove the system file, and the numbers of replicas that were asked for meanwhile."""
    _file(data).unlink(missing_ok=True)
    _replicas(data).unlink(missing_ok=True)


def read_replicas(data: Path) -> dict[str, int]:
    """Return the numbers of replicas that `write_replicas` has asked for, by function."""
    path = _replicas(data)
    return TypeAdapter(dict[str, int]).validate_json(path.read_text()) if path.exists() else {}


def write_replicas(data: Path, wanted: dict[str, int]) -> None:
    """Ask for other numbers of replicas than the stack files have, until the system stops."""
    fresh = _replicas(data).with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps({**read_replicas(data), **wanted}))
    fresh.replace(_replicas(data))


@contextmanager
def lock(data: Path) -> Iterator[None]:
    """Hold the data directory; raise `AlreadyRunning` when somebody else does."""
    data.mkdir(parents=True, exist_ok=True)
    with (data / "lock").open("w") as file:
        # Somebody may be looking whether it is locked, which takes a moment.
        patiently = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(BlockingIOError),
            stop=tenacity.stop_after_attempt(5),
            wait=tenacity.wait_fixed(0.02),
            reraise=True,
        )
        try:
            patiently(fcntl.flock, file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(
                f"a system already runs on {data}: see `saga ps`, stop it with `saga down`, "
                "or choose another directory with --data"
            ) from None
        yield


def is_locked(data: Path) -> bool:
    """Tell whether a supervisor holds the data directory."""
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
        forget(data)


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


def _replicas(data: Path) -> Path:
    return data / "replicas.json"
