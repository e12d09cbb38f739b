"""A process of the system by its number and its start: numbers alone are given anew."""

import os
import signal
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Literal

import psutil
from pydantic import BaseModel

from ..polling import poll_until

END_TIMEOUT = 5.0  # seconds that a process has to end by itself
# A start is counted from the machine's, which is told in whole seconds and moves with the clock.
SAME = 1.5  # seconds

Kind = Literal["supervisor", "broker", "metrics", "function", "saga", "adapter"]
ProcessState = Literal["starting", "ready", "unhealthy", "restarting", "stopping", "stopped"]


class ProcessInfo(BaseModel):
    """One process of the system; `topic` lists what a function or saga reads.

    `deployed` names the function, saga or adapter that it is an instance of; `born` is when the
    process has started, in seconds since 1970; `problem` says why it can't be started, and
    `failed_starts` how often in succession it has ended soon, and before it was ready.
    """

    name: str
    kind: Kind
    deployed: str | None = None
    version: str | None = None
    pid: int | None = None
    born: float | None = None
    state: ProcessState = "starting"
    restarts: int = 0
    failed_starts: int = 0
    port: int | None = None
    topic: str | None = None
    problem: str | None = None

    def runs_as(self, pid: int | None) -> None:
        """Note which process it is now, and when that has started."""
        self.pid, self.born = pid, None if pid is None else born(pid)

    @property
    def runs(self) -> bool:
        """Whether this very process runs, and not another that was given its number."""
        return self.pid is not None and is_same(self.born, born(self.pid))

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal to this very process; tell whether it runs."""
        if self.pid is None or not self.runs:
            return False
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)
        return True


def is_same(born: float | None, now: float | None) -> bool:
    """Tell whether two starts that were told of one number are those of one process."""
    return born is not None and now is not None and abs(born - now) <= SAME


def born(pid: int) -> float | None:
    """Return when a process has started, in seconds since 1970; None if none runs."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return None


def is_removed_and_open(identity: tuple[int, int]) -> bool:
    """Tell whether a process below this one has a removed file open, by its device and inode."""
    for child in psutil.Process().children(recursive=True):
        for opened in Path(f"/proc/{child.pid}/fd").glob("*"):
            with suppress(OSError):  # closed meanwhile
                found = opened.stat()
                # Another file may have been given the number: that one has a name.
                if (found.st_dev, found.st_ino) == identity and not found.st_nlink:
                    return True
    return False


def end(processes: Collection[ProcessInfo]) -> list[ProcessInfo]:
    """End those of the processes that run: with SIGTERM, and after `END_TIMEOUT` with SIGKILL.

    Returns those that ran.
    """
    ran = [process for process in processes if process.signal(signal.SIGTERM)]
    poll_until(lambda: not any(process.runs for process in ran), END_TIMEOUT)
    killed = [process for process in ran if process.signal(signal.SIGKILL)]
    poll_until(lambda: not any(process.runs for process in killed), END_TIMEOUT)
    return ran
