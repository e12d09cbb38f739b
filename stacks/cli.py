"""The command `saga`, put together: the runtime's commands, and those that know the orders."""

from collections.abc import Callable
from importlib import import_module

from saga.runtime.cli import authoring, databases, deploying, dlq, render, running, sagas
from saga.runtime.cli.app import app, main
from saga.runtime.errors import SagaError, first_line

__all__ = [
    "app",
    "authoring",
    "databases",
    "deploying",
    "dlq",
    "main",
    "render",
    "running",
    "sagas",
]


def _command(name: str) -> Callable[..., None]:
    """Return the command in the module of its name.

    Where the orders can't be imported, it says why: `saga check` and `saga down` have to work then.
    """
    try:
        command: Callable[..., None] = getattr(import_module(f".{name}", __package__), name)
    except Exception as error:
        reason = first_line(error)

        def command() -> None:
            """Be there once the order system can be imported."""
            raise SagaError(f"the order system can't be imported, see `saga check`: {reason}")

    return command


for name in ("demo", "bench", "chaos", "simulate"):
    app.command(name)(_command(name))

if __name__ == "__main__":
    main()
