"""One supervised process: how it is launched, watched and signalled, and where its output goes."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ..settings import Settings
from .logs import configure_logging
from .stack import Stack
from .state import ProcessInfo

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
    restart_at: float = 0.0
    stop_by: float = 0.0
    partitions: int = 1  # of the topics that it reads

    def alive(self) -> bool:
        """Tell whether the process runs."""
        if isinstance(self.process, subprocess.Popen):
            return self.process.poll() is None
        return self.process is not None and bool(self.process.is_alive())

    def signal(self, number: signal.Signals) -> None:
        """Send a signal if the process still runs."""
        if self.alive():
            os.kill(self.process.pid, number)


@dataclass(frozen=True)
class Host:
    """Hosts a function or a saga, or the adapter where none is named, in the process of its call.

    `others` names the secrets that are not for this one.
    """

    stack: Stack
    entry: str | None
    settings: Settings
    log_file: Path
    others: frozenset[str] = frozenset()

    def __call__(self, reports: Connection) -> None:
        """Run until told to stop; report the topics once when ready."""
        from . import host

        _settle(self.log_file)
        configure_logging(self.settings)
        host.prepare(self.stack.resources(self.entry), self.settings, self.others)
        if self.entry is None:
            host.run_adapter(self.stack, self.settings, lambda: reports.send(()))
        else:
            host.run_entry(self.stack, self.entry, self.settings, reports.send)


@dataclass(frozen=True)
class Launch:
    """Starts a process for a target; returns it, and where it reports that it is ready."""

    context: Any
    target: Target

    def __call__(self) -> Any:
        """Start the process."""
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


def rotate(log_file: Path) -> None:
    """Rename a log that has grown too large; the one before it is lost."""
    if log_file.exists() and log_file.stat().st_size > LOG_LIMIT:
        log_file.replace(log_file.with_suffix(".log.1"))


def exit_reason(process: Any) -> str:
    """Say how a process ended: by which signal, or with which code."""
    code = process.returncode if isinstance(process, subprocess.Popen) else process.exitcode
    if code is not None and code < 0:
        return signal.Signals(-code).name
    return f"exit code {code}"
