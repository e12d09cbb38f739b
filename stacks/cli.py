"""The command `saga`, put together: the runtime's commands, and those that know the orders."""

import sys
from collections.abc import Callable, Iterable
from importlib import import_module

from saga.runtime.cli.app import app
from saga.runtime.cli.app import main as run
from saga.runtime.errors import SagaError, first_line

# The modules of `saga.runtime.cli` and their commands, as `saga --help` lists them.
MODULES = {
    "authoring": ("check", "new"),
    "databases": ("create-databases",),
    "running": ("up", "down", "ps", "logs", "run"),
    "deploying": ("deploy", "rollback", "scale", "remove", "deployments", "invoke"),
    "sagas": ("sagas", "show"),
    "dlq": ("dlq",),
    "render": ("render",),
}
# Each in the module of its name, in this package.
ORDERS = ("demo", "bench", "chaos", "simulate")


def main() -> None:
    """Run the command.

    Its module alone is imported: others bring database drivers, an HTTP client and the simulation,
    which would take longer than most commands do. For a list of all commands, all are.
    """
    load(sys.argv[1:2])
    run()


def load(wanted: Iterable[str] = ()) -> None:
    """Import the modules of these commands; of all where one of them is none, or none is named."""
    chosen = set(wanted)
    every = {name for names in MODULES.values() for name in names} | {*ORDERS}
    if not chosen or not chosen <= every:
        chosen = every
    for module, names in MODULES.items():
        if chosen.intersection(names):
            import_module(f"saga.runtime.cli.{module}")
    for name in ORDERS:
        if name in chosen:
            app.command(name)(_command(name))


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
