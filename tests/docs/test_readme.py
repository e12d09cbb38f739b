"""The README's examples, run as they stand; its orders are in integration/test_order_flows.py."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from saga.runtime.settings import Settings
from support.command import run_saga
from support.waiting import DEADLINE

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BIN = Path(sys.executable).parent


def examples(kind: str) -> list[tuple[str, str]]:
    """Return the examples marked `<!-- test: KIND ARGUMENT -->`, as argument and code."""
    marked = re.compile(rf"<!-- test: {kind} ?(\S*) -->\n```\w+\n(.*?)```", re.DOTALL)
    return [(found.group(1), found.group(2)) for found in marked.finditer(README)]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the files that the README shows."""
    for name, code in examples("file"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(code)
    return tmp_path


def test_the_functions_own_test_passes(project: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        str(project / "gift"),
    ]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=DEADLINE)
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_the_function_and_the_saga_run_from_their_stack_file(project: Path) -> None:
    try:
        started = run_saga(["up", "--detach"], os.environ, project)
        assert "gift.wrap_gift" in started.stdout, started.stderr
        listed = run_saga(["ps", "--json"], os.environ, project)
        assert listed.returncode == 0, listed.stderr
        rows = json.loads(listed.stdout)
        told = {row["name"]: (row["kind"], row["state"], row["where"]) for row in rows}
        assert told["gift.wrap_gift"] == ("function", "ready", "gift.wrap")
        assert told["gift.give"] == ("saga", "ready", "gift.events")
        given = subprocess.run(
            [sys.executable, "give_one.py"],
            cwd=project,
            env=os.environ,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
        )
        assert given.stdout == "COMPLETED\n", given.stderr
    finally:
        run_saga(["down"], os.environ, project)


def test_saga_check_finds_nothing_wrong(project: Path) -> None:
    assert (
        run_saga(["check"], os.environ, project).stdout
        == "stacks: 1 function, 1 saga, no problems.\n"
    )


def test_every_setting_is_told() -> None:
    told = (ROOT / "docs" / "settings.md").read_text()
    internal = {"saga_code", "saga_version", "saga_replicas", "saga_health", "saga_counts"}
    internal |= {"saga_crash_points"}  # of tests
    names = {name.upper() for name in Settings.model_fields.keys() - internal}
    assert {name for name in names if f"`{name}`" not in told} == set()


def test_every_saga_command_of_the_readme_exists() -> None:
    named = set(re.findall(r"^saga (\w+)", README, re.MULTILINE))
    listed = subprocess.run(
        [BIN / "saga", "--help"], capture_output=True, text=True, timeout=DEADLINE
    )
    assert named
    for name in named:
        assert re.search(rf"^\W*{name}\b", listed.stdout, re.MULTILINE), name


@pytest.mark.parametrize("target", ["install", "up", "test", "down", "lint"])
def test_every_make_target_is_there(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_links_to_files_lead_somewhere() -> None:
    for link in re.findall(r"\]\(((?!http)[^)#]+)", README):
        assert (ROOT / link).exists(), link
