"""The command `saga` is there whatever the order system's files are like."""

import subprocess
import sys
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from saga.runtime.cli.app import app
from saga.stacks import cli
from support.waiting import DEADLINE

BROKEN = (
    "import sys; sys.modules['saga.functions.orchestrator.place_order'] = None; "
    "from saga.stacks.cli import main; sys.argv = ['saga', *sys.argv[1:]]; main()"
)
# What takes long to import: drivers, clients, and what brings them along.
HEAVY = {"boto3", "confluent_kafka", "docker", "httpx", "jgo", "peewee", "psycopg", "quixstreams"}
HEAVY |= {"requests", "sanic", "saga.runtime.simulation", "saga.stacks.ledger"}
WATCHED = (
    "import atexit, sys; from saga.stacks.cli import main; "
    "atexit.register(lambda: print(*sys.modules, file=sys.stderr)); "
    "sys.argv = ['saga', *sys.argv[1:]]; main()"
)
HELP = (
    "import sys; from saga.stacks import cli; "
    "getattr(cli, sys.argv[1])(); sys.argv = ['saga', *sys.argv[2:]]; cli.run()"
)


def python(code: str, *arguments: str, cwd: Path | None = None) -> CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        cwd=cwd,
    )


def saga(*arguments: str) -> CompletedProcess[str]:
    """Run the command where the order saga can't be imported."""
    return python(BROKEN, *arguments)


@pytest.mark.parametrize("name", ["bench", "simulate"])
def test_commands_of_the_orders_say_that_they_cant_be_imported(name: str) -> None:
    done = saga(name)
    assert done.returncode == 1
    assert done.stderr.startswith("saga: the order system can't be imported, see `saga check`:")
    assert "Traceback" not in done.stderr


def test_other_commands_work() -> None:
    assert "simulate" in saga("--help").stdout
    assert saga("down", "--help").returncode == 0
    assert "place_order" in saga("check").stdout


@pytest.mark.parametrize(
    "words",
    ["--help", "", "ps", "-- ps", "logs", "down", "deployments x", "render compose"]
    + [f"{name} --help" for name in ("up", "deploy", "scale", "create-databases")],
)
def test_command_runs_without_drivers_and_clients(tmp_path: Path, words: str) -> None:
    done = python(WATCHED, *words.split(), cwd=tmp_path)
    imported = done.stderr.splitlines()[-1].split()
    assert "saga.stacks.cli" in imported
    assert HEAVY.intersection(imported) == set()


@pytest.mark.parametrize("words", [(), ("--help",), ("nosuch",), ("simulat",)])
def test_help_is_that_of_the_commands(words: tuple[str, ...]) -> None:
    outlined, loaded = (python(HELP, how, *words) for how in ("outline", "load"))
    assert (outlined.returncode, outlined.stdout) == (loaded.returncode, loaded.stdout)
    assert outlined.stderr == loaded.stderr


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
