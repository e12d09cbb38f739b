"""`saga --help`: each command is told in one whole line, under the task that it is for."""

import re
from collections import Counter

import pytest
from typer.testing import CliRunner

from saga.runtime.cli.app import app
from saga.runtime.cli.tasks import TASKS
from saga.stacks import cli

COLUMNS = 80


@pytest.fixture(scope="module")
def told() -> str:
    cli.load()
    return CliRunner(env={"COLUMNS": str(COLUMNS)}).invoke(app, ["--help"]).stdout


def test_each_command_is_for_one_task() -> None:
    assert Counter(name for names in TASKS.values() for name in names) == Counter(cli.COMMANDS)


def test_tasks_are_told_in_order(told: str) -> None:
    assert [task for task in re.findall(r"(?m)^(\w+):$", told) if task in TASKS] == [*TASKS]


def test_each_command_is_told_in_one_whole_line(told: str) -> None:
    lines = told.splitlines()
    for name in cli.COMMANDS:
        [line] = [line for line in lines if re.match(rf"  {name} ", line)]
        assert re.fullmatch(rf"  {name} +[A-Z][^.]*\.", line)
        assert len(line) <= COLUMNS


def test_each_command_of_a_group_is_told_in_one_whole_line(told: str) -> None:
    runner = CliRunner(env={"COLUMNS": str(COLUMNS)})
    for group in app.registered_groups:
        lines = runner.invoke(app, [str(group.name), "--help"]).stdout.splitlines()
        listed = [line for line in lines[lines.index("Commands:") + 1 :] if line]
        assert [line for line in listed if not re.fullmatch(r"  \w+ +[A-Z].*[^.]\.", line)] == []
        assert len(listed) == len(group.typer_instance.registered_commands)


def test_version_is_told() -> None:
    assert re.fullmatch(r"saga \d+\.\d+\.\d+\n", CliRunner().invoke(app, ["--version"]).stdout)
