"""The command `saga` is there whatever the order system's files are like."""

import subprocess
import sys

import pytest

from saga.runtime.cli.app import app
from saga.stacks import cli
from support.waiting import DEADLINE

BROKEN = (
    "import sys; sys.modules['saga.functions.orchestrator.place_order'] = None; "
    "from saga.stacks.cli import main; sys.argv = ['saga', *sys.argv[1:]]; main()"
)
IMPORTED = (
    "import sys; from saga.stacks.cli import load; load([sys.argv[1]]); "
    "print(*{'peewee', 'psycopg', 'httpx', 'quixstreams', 'sanic', 'docker'} & {*sys.modules})"
)


def saga(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the command where the order saga can't be imported."""
    return subprocess.run(
        [sys.executable, "-c", BROKEN, *arguments], capture_output=True, text=True, timeout=DEADLINE
    )


@pytest.mark.parametrize("name", ["bench", "simulate"])
def test_commands_of_the_orders_say_that_they_cant_be_imported(name: str) -> None:
    done = saga(name)
    assert done.returncode == 1
    assert done.stderr.startswith("saga: the order system can't be imported, see `saga check`:")
    assert "Traceback" not in done.stderr


def test_other_commands_work() -> None:
    assert saga("down", "--help").returncode == 0
    assert "place_order" in saga("check").stdout


@pytest.mark.parametrize("name", ["up", "down", "ps", "logs", "render", "deploy"])
def test_command_starts_without_drivers_and_clients(name: str) -> None:
    command = [sys.executable, "-c", IMPORTED, name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=True)
    assert done.stdout == "\n"


def test_commands_are_listed_with_their_modules() -> None:
    cli.load()
    found = {
        command.name or command.callback.__name__: command for command in app.registered_commands
    }
    modules = {name: command.callback.__module__ for name, command in found.items()}
    for group in app.registered_groups:
        modules[group.name] = group.typer_instance.registered_commands[0].callback.__module__
    listed = {name: f"saga.runtime.cli.{m}" for m, names in cli.MODULES.items() for name in names}
    assert modules == listed | {name: f"saga.stacks.{name}" for name in cli.ORDERS}
