"""The command `saga` is there whatever the order system's files are like."""

import json
import subprocess
import sys
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from saga.runtime.cli.app import app
from saga.stacks import cli
from support.waiting import DEADLINE

BROKEN = (
    "sys.modules['saga.functions.orchestrator.place_order'] = None; "
    "from saga.stacks.cli import main as run"
)
# What takes long to import: drivers, clients, and what brings them along.
HEAVY = {"boto3", "confluent_kafka", "docker", "httpx", "jgo", "peewee", "psycopg", "quixstreams"}
HEAVY |= {"requests", "sanic", "saga.runtime.simulation", "saga.stacks.ledger"}
WATCHED = (
    "from saga.stacks.cli import main as run; "
    "atexit.register(lambda: print(*sys.modules, file=sys.stderr))"
)
HELP = "from saga.stacks.cli import {0}, run; {0}()"
# A new Python for each command would take most of the time, and half of the rest its end, at which
# it would take all modules to pieces.
FORKS = """
import atexit, json, os, sys
{beginning}
forks = []
for number, words in enumerate(json.loads(sys.argv[1])):
    forks.append(os.fork())
    if forks[-1] == 0:
        for output in (1, 2):
            os.dup2(os.open(f"{{number}}.{{output}}", os.O_CREAT | os.O_WRONLY), output)
        sys.argv = ["saga", *words]
        try:
            code = run()
        except SystemExit as end:
            code = end.code
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code or 0)
print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1]) for fork in forks]))
"""


def saga(beginning: str, folder: Path, *commands: str) -> dict[str, CompletedProcess[str]]:
    """Run commands, each in a fork of a new Python that begins so."""
    words = [command.split() for command in commands]
    code = FORKS.format(beginning=beginning)
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(words)],
        stdout=subprocess.PIPE,
        text=True,
        timeout=DEADLINE,
        cwd=folder,
        check=True,
    )
    ends = enumerate(zip(commands, json.loads(done.stdout), strict=True))
    return {
        command: CompletedProcess(
            command, end, *((folder / f"{number}.{output}").read_text() for output in (1, 2))
        )
        for number, (command, end) in ends
    }


@pytest.fixture(scope="module")
def where_the_orders_are_broken(
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, CompletedProcess[str]]:
    """Run commands where the order saga can't be imported."""
    commands = ("bench", "simulate", "--help", "down --help", "check")
    return saga(BROKEN, tmp_path_factory.mktemp("broken"), *commands)


@pytest.mark.parametrize("name", ["bench", "simulate"])
def test_commands_of_the_orders_say_that_they_cant_be_imported(
    where_the_orders_are_broken: dict[str, CompletedProcess[str]], name: str
) -> None:
    done = where_the_orders_are_broken[name]
    assert done.returncode == 1
    assert done.stderr.startswith("saga: the order system can't be imported, see `saga check`:")
    assert "Traceback" not in done.stderr


def test_other_commands_work(
    where_the_orders_are_broken: dict[str, CompletedProcess[str]],
) -> None:
    assert "simulate" in where_the_orders_are_broken["--help"].stdout
    assert where_the_orders_are_broken["down --help"].returncode == 0
    assert "place_order" in where_the_orders_are_broken["check"].stdout


LIGHT = ["--help", "", "ps", "-- ps", "logs", "down", "deployments x", "render compose"]
LIGHT += [f"{name} --help" for name in ("up", "deploy", "scale", "create-databases")]


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Tell what each command imports."""
    done = saga(WATCHED, tmp_path_factory.mktemp("light"), *LIGHT)
    return {words: {*done[words].stderr.splitlines()[-1].split()} for words in LIGHT}


@pytest.mark.parametrize("words", LIGHT)
def test_command_runs_without_drivers_and_clients(
    imported: dict[str, set[str]], words: str
) -> None:
    assert "saga.stacks.cli" in imported[words]
    assert HEAVY.intersection(imported[words]) == set()


def test_help_is_that_of_the_commands(tmp_path_factory: pytest.TempPathFactory) -> None:
    outlined, loaded = (
        saga(HELP.format(how), tmp_path_factory.mktemp(how), "", "--help", "nosuch", "simulat")
        for how in ("outline", "load")
    )
    for words, done in outlined.items():
        assert vars(done) == vars(loaded[words])
    assert {done.returncode for done in outlined.values()} == {0, 2}


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


INTERRUPTED = """\
import sys
from importlib import metadata


class Terminal:
    def find_spec(name, path=None, target=None):
        if name == "{0}":
            raise KeyboardInterrupt


sys.meta_path.insert(0, Terminal)
sys.argv = ["saga", "demo"]
[saga] = metadata.entry_points(group="console_scripts", name="saga")
saga.load()()
"""


@pytest.mark.parametrize("module", ["typer", "httpx"])
def test_ctrl_c_while_the_command_is_imported_is_no_traceback(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED.format(module)], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
