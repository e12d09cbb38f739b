"""The command `saga`, put together: the runtime's commands, and those that know the orders."""

import ast
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path

import typer

from saga.runtime import cli
from saga.runtime.cli.app import app
from saga.runtime.cli.app import main as run
from saga.runtime.errors import SagaError, first_line

# The modules of `saga.runtime.cli` and their commands, as `saga --help` lists them.
MODULES = {
    "authoring": ("check", "new"),
    "databases": ("create-databases",),
    "running": ("up", "down", "ps", "run"),
    "logs": ("logs",),
    "deploying": ("deploy", "rollback", "scale", "remove", "deployments", "invoke"),
    "sagas": ("sagas", "show", "why", "retry", "skip"),
    "dlq": ("dlq",),
    "top": ("top",),
    "render": ("render",),
}
# Each in the module of its name, in this package.
ORDERS = ("demo", "bench", "chaos", "simulate")
COMMANDS = {*ORDERS, *(name for names in MODULES.values() for name in names)}


def main() -> None:
    """Run the command.

    Its module alone is imported: others bring database drivers, an HTTP client and the simulation,
    which would take longer than most commands do. For a list of all commands, none is.
    """
    first = [word for word in _to_be_completed() or sys.argv[1:] if word != "--"][:1]
    if COMMANDS.intersection(first):
        load(first)
    else:
        outline()
    run()


def _to_be_completed() -> list[str]:
    """Return what has been typed so far, where the shell asks what may come next."""
    if "_SAGA_COMPLETE" not in os.environ:
        return []
    words = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")
    return words.split()[1:]


def load(wanted: Iterable[str] = COMMANDS) -> None:
    """Import the modules of these commands."""
    chosen = set(wanted)
    for module, names in MODULES.items():
        if chosen.intersection(names):
            import_module(f"{cli.__name__}.{module}")
    for name in ORDERS:
        if name in chosen:
            app.command(name)(_command(name))


def outline() -> None:
    """List all commands with nothing but their help, for showing it; no module is imported."""
    runtimes = {Path(cli.__path__[0], f"{module}.py"): names for module, names in MODULES.items()}
    orders = {Path(__file__).with_name(f"{name}.py"): (name,) for name in ORDERS}
    for file, names in {**runtimes, **orders}.items():
        told = dict(_help_texts(file))
        for name in names:
            text, is_group = told[name]
            if is_group:
                group = typer.Typer(help=text, callback=_nothing)
                app.add_typer(group, name=name)
            else:
                app.command(name, help=text)(_nothing)


def _nothing() -> None: ...


def _help_texts(file: Path) -> Iterator[tuple[str, tuple[str, bool]]]:
    """Read, in a module's source, the help of what may be a command, or (True) a group of some."""
    for node in ast.parse(file.read_text()).body:
        match node:
            case ast.FunctionDef(decorator_list=[ast.Call(args=[ast.Constant(str(name))])]):
                yield name, (ast.get_docstring(node) or "", False)
            case ast.FunctionDef(name=name):
                yield name, (ast.get_docstring(node) or "", False)
            case ast.Assign(
                targets=[ast.Name(id=name)],
                value=ast.Call(keywords=[ast.keyword("help", ast.Constant(str(text))), *_]),
            ):
                yield name, (text, True)


def _command(name: str) -> Callable[..., None]:
    """Return the command in the module of its name.

    Where the orders can't be imported, it says why: `saga check` and `saga --help` have to work.
    """
    try:
        command: Callable[..., None] = getattr(import_module(f".{name}", __package__), name)
    except Exception as error:
        reason = first_line(error)

        def command() -> None:
            """Be there once the order system can be imported."""
            raise SagaError(f"the order system can't be imported, see `saga check`: {reason}")

    return command


if __name__ == "__main__":
    main()
