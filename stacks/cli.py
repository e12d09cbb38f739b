"""The command `saga`, put together: the runtime's commands, and those that know the orders."""

from saga.runtime.cli import authoring, databases, deploying, dlq, render, running, sagas
from saga.runtime.cli.app import app, main

from .bench import bench
from .chaos import chaos
from .demo import demo
from .simulate import simulate

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

app.command()(demo)
app.command()(bench)
app.command()(chaos)
app.command()(simulate)

if __name__ == "__main__":
    main()
