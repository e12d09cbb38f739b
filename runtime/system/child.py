"""One supervised process: started, watched, started again when it has ended, and stopped."""

import logging
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ..errors import SagaError
from ..health import stands_still
from ..retry import Retry
from .process import ProcessInfo

log = logging.getLogger(__name__)

DRAIN_TIMEOUT = 10.0  # seconds that a process has to end by itself
HEALTHY_AFTER = 10.0  # seconds after which a restart no longer counts as one of a series
LOOK_EVERY = 5.0  # seconds between two looks at a process's health
UNTOLD = 255  # what multiprocessing takes for an exit code where none is told
BACK_OFF = Retry(first=0.2, longest=10.0)


@dataclass
class Child:
    """A process under supervision.

    `launch` starts it: it returns the process, and where that reports its topics once it is ready;
    or a `Popen` that is ready already. `partitions` are those of the topics that it reads.
    """

    info: ProcessInfo
    launch: Callable[[], Any]
    log_file: Path
    partitions: int = 1
    health: Path | None = None  # a file that it touches as long as its loop turns
    process: Any = None
    reports: Connection | None = None
    failures: int = 0
    started_at: float = 0.0
    restart_at: float = 0.0
    stop_by: float = 0.0
    look_at: float = 0.0
    stood_still: int = 0  # looks at its health in succession

    def alive(self) -> bool:
        """Tell whether the process runs."""
        if isinstance(self.process, subprocess.Popen):
            return self.process.poll() is None
        if self.process is None:
            return False
        if not _is_told_of(self.process):
            return True
        # A fork server that is gone tells no end: its processes go on without it.
        return self.process.is_alive() or (self.process.exitcode == UNTOLD and self.info.runs)

    def start(self) -> None:
        """Start the process; raise what `launch` raises."""
        self.log_file.parent.mkdir(exist_ok=True)  # a cleaner may have been here
        self.started_at = time.monotonic()
        self.look_at, self.stood_still = self.started_at + LOOK_EVERY, 0
        if self.health is not None:  # which its predecessor has left
            self.health.unlink(missing_ok=True)
        self.info.state = "starting"
        launched = self.launch()
        if isinstance(launched, subprocess.Popen):
            self.process, self.info.state = launched, "ready"
        else:
            self.process, self.reports = launched
        self.info.problem = None
        self.info.runs_as(self.process.pid)

    def try_start(self) -> None:
        """Start the process, or plan another try."""
        try:
            self.start()
        except (SagaError, OSError) as error:
            self.info.problem = str(error)
            self._plan_restart(str(error))

    def stop(self) -> None:
        """Tell the process to finish what it has begun, and to end."""
        self.info.state = "stopping"
        self.stop_by = time.monotonic() + DRAIN_TIMEOUT
        self.signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the process if it still runs."""
        if self.alive():
            log.warning("%s did not stop in %g s", self.info.name, DRAIN_TIMEOUT)
            self.signal(signal.SIGKILL)
        self.info.state = "stopped"
        self.info.runs_as(None)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal if the process still runs."""
        if self.alive():
            os.kill(self.process.pid, number)

    def check(self) -> bool:
        """Note what the process did, and start it again when it is time; tell if that is news."""
        if self.info.state == "stopping":
            return self._check_stopping()
        if self.info.state == "restarting":
            return self._check_restarting()
        alive = self.alive()
        # One that has ended meanwhile may have been ready before.
        if self.info.state == "starting" and self._check_starting():
            return True
        if not alive:
            self._plan_restart(exit_reason(self.process))
            return True
        self._check_health()
        return False

    def _check_health(self) -> None:
        """End what does not do its work: with a traceback in its log, if it still can."""
        if self.health is None or time.monotonic() < self.look_at:
            return
        self.look_at = time.monotonic() + LOOK_EVERY
        why = stands_still(self.health)
        # The first time, this machine may only have slept.
        self.stood_still = self.stood_still + 1 if why else 0
        if self.stood_still > 1:
            log.warning("%s is ended: %s", self.info.name, why)
            self.signal(signal.SIGALRM if self.stood_still == 2 else signal.SIGKILL)

    def _check_stopping(self) -> bool:
        if not self.alive():
            self.info.state = "stopped"
        elif time.monotonic() > self.stop_by:
            self.signal(signal.SIGKILL)
        return self.info.state == "stopped"

    def _check_restarting(self) -> bool:
        if time.monotonic() < self.restart_at:
            return False
        self.info.restarts += 1
        self.try_start()
        return True

    def _check_starting(self) -> bool:
        if self.reports is None or not self.reports.poll():
            return False
        try:
            self.info.topic = " ".join(self.reports.recv()) or None
        except EOFError:
            return False
        self.info.state, self.info.failed_starts = "ready", 0
        return True

    def _plan_restart(self, reason: str) -> None:
        soon = time.monotonic() - self.started_at <= HEALTHY_AFTER
        self.failures = self.failures + 1 if soon else 1
        failed = soon and self.info.state == "starting" and not self.info.problem
        self.info.failed_starts = self.info.failed_starts + 1 if failed else 0
        delay = BACK_OFF.delay(self.failures, self.info.name)
        log.warning("%s ended (%s); starting it again in %.1f s", self.info.name, reason, delay)
        self.info.state = "restarting"
        self.info.runs_as(None)
        self.restart_at = time.monotonic() + delay


def _is_told_of(process: Any) -> bool:
    """Tell whether the fork server has said that a process has ended, or is gone itself.

    multiprocessing's own look takes ten times as long, and a supervisor has ten a second for each.
    """
    news = select.poll()
    news.register(process.sentinel, select.POLLIN)
    return bool(news.poll(0))


def exit_reason(process: Any) -> str:
    """Say how a process ended: by which signal, or with which code."""
    code = process.returncode if isinstance(process, subprocess.Popen) else process.exitcode
    if code is not None and code < 0:
        # Those for a program's own use have no names.
        return next((one.name for one in signal.Signals if one == -code), f"signal {-code}")
    return f"exit code {code}"
