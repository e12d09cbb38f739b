"""Each `saga …` that the README and the docs show is taken as it stands, options and all."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from saga.runtime.cli.app import app
from saga.stacks import cli

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)


def shown(file: Path) -> list[str]:
    """Return the lines of shell that are commands of `saga`, whole where they go on in the next."""
    lines = "".join(BLOCK.findall(file.read_text())).replace("\\\n", " ").splitlines()
    return [line for line in lines if re.match("saga [a-z]", line)]


COMMANDS = [
    pytest.param(line, id=f"{file.name}: {shlex.join(shlex.split(line, comments=True))}")
    for file in [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *sorted((ROOT / "docs").glob("*.md")),
    ]
    for line in shown(file)
]


@pytest.fixture(scope="module")
def root() -> Any:
    cli.load()
    return typer.main.get_command(app)


def understand(command: Any, name: str, words: list[str], parent: Any = None) -> str:
    """Read words as the command line does, down to the command that would begin now."""
    context = command.make_context(name, list(words), parent=parent)
    if not hasattr(command, "resolve_command"):
        return str(context.command_path)
    below, found, rest = command.resolve_command(context, [*context._protected_args, *context.args])
    return understand(found, below, rest, context)


def test_there_are_some() -> None:
    assert len(COMMANDS) > 50


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_is_understood(root: Any, line: str) -> None:
    name, *words = shlex.split(line, comments=True)
    assert understand(root, name, words).startswith(f"saga {words[0]}")


def test_what_is_not_there_is_not_understood(root: Any) -> None:
    for words in (["shown", "ID"], ["show"], ["show", "ID", "--watched"], ["scale", "--json"]):
        with pytest.raises(Exception, match=r"No such|Missing"):
            understand(root, "saga", words)
