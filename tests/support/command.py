"""The command `saga` as a test gives it: in this process where that makes no difference.

A process of its own takes half a second of CPU before it begins.
"""

import importlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from types import ModuleType
from unittest import mock

import saga
from saga.runtime.deploy.interruption import ENDS
from saga.stacks.cli import main
from saga.stacks.ledger import TABLES

from .waiting import DEADLINE

SAGA = Path(sys.executable).with_name("saga")
# Of the others, `up` leaves a process behind.
HERE = {"bench", "check", "demo", "deploy", "deployments", "dlq", "down", "invoke", "logs", "new"}
HERE |= {"ps", "remove", "render", "rollback", "sagas", "scale", "show", "top"}

Done = subprocess.CompletedProcess[str]


def run_saga(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    folder: Path | None = None,
    stdin: str | None = None,
    timeout: float = DEADLINE,
    *,
    apart: bool = False,
) -> Done:
    """Run the command in a folder, with nothing else in its environment.

    In a process of its own with `apart`, which a thread has to ask for, or a command that needs it.
    """
    if not apart and arguments[0] in HERE and "SAGA_TARGET" not in environment:
        return _run_here(arguments, environment, folder, stdin)
    return subprocess.run(
        [SAGA, *arguments],
        env=dict(environment),
        cwd=folder,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def _run_here(
    arguments: Sequence[str], environment: Mapping[str, str], folder: Path | None, stdin: str | None
) -> Done:
    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        _bound_as_they_were(),
        _as_it_was(folder),
        chdir(folder or Path()),
        mock.patch.dict(os.environ, environment, clear=True),
        mock.patch.object(sys, "argv", ["saga", *arguments]),
        mock.patch.object(sys, "stdin", io.StringIO(stdin or "")),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        sys.path[:0] = [str(folder)] if folder else []
        importlib.invalidate_caches()  # files change sooner than Python looks again
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
    return Done(list(arguments), code, out.getvalue(), err.getvalue())


@contextmanager
def _bound_as_they_were() -> Iterator[None]:
    """Close the databases that a command has bound the order system's tables to."""
    before = {table: table._meta.database for tables in TABLES.values() for table in tables}
    try:
        yield
    finally:
        for table, database in before.items():
            if (bound := table._meta.database) is not database:
                bound.close()
                table._meta.set_database(database)


@contextmanager
def _as_it_was(folder: Path | None) -> Iterator[None]:
    """Forget what a folder's code has left behind, for that changes, and from where it came.

    So is what `invoke` has imported of a version, which goes with its system; what this process had
    imported before is there again.
    """
    path, package, modules = [*sys.path], [*saga.__path__], {**sys.modules}
    on_end = {number: signal.getsignal(number) for number in ENDS}
    try:
        yield
    finally:
        for number, handler in on_end.items():
            signal.signal(number, handler)
        sys.path[:], saga.__path__ = path, package
        for name, module in [*sys.modules.items()]:
            if modules.get(name) is not module:
                is_own = not name.startswith("saga.") or any(_is_from(module, at) for at in package)
                if _is_from(module, folder) or (name not in modules and not is_own):
                    _forget(name)
        for name, module in modules.items():
            if sys.modules.get(name) is not module and not _is_from(module, folder):
                sys.modules[name] = module
                around, _, own = name.rpartition(".")
                if around in modules:
                    setattr(modules[around], own, module)


def _forget(name: str) -> None:
    module = sys.modules.pop(name)
    around, _, own = name.rpartition(".")
    if vars(sys.modules.get(around, module)).get(own) is module:
        delattr(sys.modules[around], own)


def _is_from(module: ModuleType, folder: Path | str | None) -> bool:
    files = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
    return any(str(file).startswith(f"{folder}/") for file in files)
