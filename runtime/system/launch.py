"""How a supervised process comes to life: forked from a server, it hosts what it is told to."""

import atexit
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import forkserver, process, util
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from ..errors import SagaError
from ..settings import Settings
from .logs import configure_logging
from .rotation import write_to
from .stack import Stack

SOCKETS = "pymp-"  # what the name of their folder begins with
log = logging.getLogger(__name__)

Target = Callable[[Connection], None]
T = TypeVar("T")

ORPHANED_FOR = 20.0  # seconds that a process has to end by itself once its supervisor is gone
# By the fork server, in this order; as names, since it alone has them all.
PRELOAD = [
    "saga.runtime.system.uncollected",
    "saga.runtime.web",
    "saga.runtime.system.host",
    "saga.runtime.system.frozen",
]


@dataclass(frozen=True)
class Host:
    """Hosts a function or a saga, or the adapter where none is named, in the process of its call.

    `others` names the secrets that are not for this one. An adapter accepts requests from
    `listening`; whether there are others `beside` it that do is asked at each start.
    """

    stack: Stack
    entry: str | None
    settings: Settings
    log_file: Path
    others: frozenset[str] = frozenset()
    listening: socket.socket | None = None
    beside: bool = False

    def __call__(self, reports: Connection) -> None:
        """Run until told to stop; report the topics once when ready."""
        from . import host

        settle()
        write_to(self.log_file, self.settings)
        configure_logging(self.settings, self.stack.name(self.entry))
        host.prepare(self.stack.resources(self.entry), self.settings, self.others)
        if self.entry is None:
            on_ready = lambda: reports.send(())  # noqa: E731
            listening, beside = self.listening, self.beside
            host.run_adapter(self.stack, self.settings, on_ready, listening, beside=beside)
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
        try:
            process.start()
        except OSError as error:
            log.warning("another fork server is started, as the socket of this one: %s", error)
            _replace_fork_server()
            process.start()
        theirs.close()
        return process, ours


def start_fork_server(context: Any, folder: Path, more: Sequence[str] = ()) -> None:
    """Start the server that the processes come from; its imports go on when this returns.

    `more` names modules that it imports besides.

    Its socket is in `folder` where one can be there. Raises `SagaError` where one can be nowhere.
    """
    # Else each process would run our main module, and import all that a command does.
    vars(sys.modules["__main__"]).pop("__file__", None)
    context.set_forkserver_preload([*PRELOAD[:-1], *more, PRELOAD[-1]])
    folder.mkdir(exist_ok=True)
    for left in folder.glob(f"{SOCKETS}*"):  # by a killed supervisor
        shutil.rmtree(left, ignore_errors=True)
    others = [os.environ.get("TMPDIR") or "/tmp", "/tmp", "/var/tmp"]  # noqa: S108
    here = tempfile.mkdtemp(prefix=SOCKETS, dir=socket_folder([folder, *others]))
    # Made by multiprocessing itself, a folder that somebody has removed would end us with a
    # traceback: it removes what it has made, and wants it to be there.
    vars(process.current_process())["_config"]["tempdir"] = here
    atexit.register(shutil.rmtree, here, ignore_errors=True)
    # Inherited: Ctrl-C in the terminal is for the supervisor, also while the server still imports.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, before)


def socket_folder(candidates: Iterable[Path | str]) -> Path:
    """Return the first folder that a socket can be in: a path may be too long for one.

    Raises `SagaError` where there is none.
    """
    reasons = []
    for candidate in map(Path, candidates):
        try:
            with (
                tempfile.TemporaryDirectory(prefix=SOCKETS, dir=candidate) as inside,
                socket.socket(socket.AF_UNIX) as probe,
            ):
                probe.bind(f"{inside}/listener-{'0' * 8}")  # as long as multiprocessing's
            return candidate
        except OSError as error:
            reasons.append(f"{candidate}: {error}")
    raise SagaError(f"no folder for a socket: {'; '.join(reasons)}")


def _replace_fork_server() -> None:
    """Start another fork server beside the one that can't be reached.

    That one goes on to tell of its processes, and ends with the last of them.
    """
    server: Any = forkserver._forkserver
    if server._forkserver_alive_fd is not None:
        os.close(server._forkserver_alive_fd)
    server._forkserver_alive_fd = server._forkserver_address = server._forkserver_pid = None
    Path(util.get_temp_dir()).mkdir(mode=0o700, parents=True, exist_ok=True)
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
    except KeyboardInterrupt:
        process.kill()
        raise
    finally:
        process.join()
    if isinstance(outcome, SagaError):
        raise outcome
    return outcome


def _report(work: Callable[..., Any], arguments: tuple[object, ...], reports: Connection) -> None:
    settle()
    try:
        reports.send(work(*arguments))
    except SagaError as error:
        reports.send(error)


def settle() -> None:
    """Make this process independent of the terminal, and let it end when the supervisor is gone."""
    os.setpgid(0, 0)  # Ctrl-C in the terminal is for the supervisor
    threading.Thread(target=_end_without_parent, daemon=True).start()


def _end_without_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        # Nobody is left to end what hangs, as a Kafka client may whose broker has gone, too.
        time.sleep(ORPHANED_FOR)
        os.kill(os.getpid(), signal.SIGKILL)
