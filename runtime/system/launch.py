"""How a supervised process comes to life: forked from a server, it hosts what it is told to."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from ..errors import SagaError
from ..settings import Settings
from .logs import configure_logging
from .stack import Stack

Target = Callable[[Connection], None]
T = TypeVar("T")

# By the fork server, in this order; as names, since it alone has them all.
PRELOAD = [
    "saga.runtime.system.uncollected",
    "sanic_ext",
    "saga.runtime.web",
    "saga.runtime.system.host",
    "saga.runtime.system.frozen",
]


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


def start_fork_server(context: Any) -> None:
    """Start the server that the processes come from; its imports go on when this returns."""
    # Else each process would run our main module, and import all that a command does.
    vars(sys.modules["__main__"]).pop("__file__", None)
    context.set_forkserver_preload(PRELOAD)
    forkserver.ensure_running()


def elsewhere(context: Any, work: Callable[..., T], *arguments: object) -> T:
    """Call a function in a process of its own, so that nothing stays of what it imports.

    Returns what it returns, and raises a `SagaError` that it raises; `ChildProcessError` when the
    process ends without either.
    """
    process, reports = Launch(context, partial(_report, work, arguments))()
    try:
        outcome: T | SagaError = reports.recv()
    except EOFError:
        raise ChildProcessError(f"the process of {work.__name__} has ended") from None
    finally:
        process.join()
    if isinstance(outcome, SagaError):
        raise outcome
    return outcome


def _report(work: Callable[..., Any], arguments: tuple[object, ...], reports: Connection) -> None:
    os.setpgid(0, 0)  # Ctrl-C in the terminal is for the supervisor
    try:
        reports.send(work(*arguments))
    except SagaError as error:
        reports.send(error)


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
