"""The command `saga`, put together: the runtime's commands, and those that know the orders."""

from saga.runtime.cli import running
from saga.runtime.cli.app import app, main

__all__ = ["app", "main", "running"]

if __name__ == "__main__":
    main()
