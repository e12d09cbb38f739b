"""The examples of docs/testing.md, run as they stand."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from saga.runtime.testing import CRASH_POINTS, Result, Story
from support.waiting import DEADLINE

TEXT = (Path(__file__).parents[2] / "docs" / "testing.md").read_text()


def examples(kind: str) -> list[tuple[str, str]]:
    """Return the examples marked `<!-- test: KIND ARGUMENT -->`, as argument and code."""
    marked = re.compile(rf"<!-- test: {kind} ?(\S*) -->\n```\w+\n(.*?)```", re.DOTALL)
    return [(found.group(1), found.group(2)) for found in marked.finditer(TEXT)]


def table(title: str) -> set[str]:
    """Return the names in the first column of the table with this title."""
    rows = TEXT.partition(f"| {title} | what |\n")[2].partition("\n\n")[0].splitlines()[1:]
    return {name for row in rows for name in re.findall(r"`(\w+)", row.split("|")[1])}


def test_every_test_in_it_passes(tmp_path: Path) -> None:
    files = examples("file")
    for name, code in files:
        (tmp_path / name).write_text(code)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE)
    tests = sum(code.count("def test_") for _, code in files)
    assert len(files) == 3
    assert f"{tests} passed" in done.stdout, done.stdout + done.stderr


def test_wrong_expectation_is_told_as_shown() -> None:
    [(_, code)], [(_, told)] = examples("wrong"), examples("told")
    with pytest.raises(AssertionError) as difference:
        exec(code, {})
    assert f"{difference.value}\n" == told


def test_every_move_and_expectation_is_there() -> None:
    public = {name for name in vars(Story) if not name.startswith("_")}
    moves, expectations = table("move"), table("expectation")
    assert moves | expectations == public
    assert {name for name in public if name.startswith("expect")} == expectations


def test_every_part_of_a_result_is_there() -> None:
    public = {name for name in dir(Result) if not name.startswith("_")}
    assert table("of a result") == public - {"id", "event_class"}


def test_every_crash_point_is_named() -> None:
    assert re.findall(r"`((?:before|in|after)_\w+)`", TEXT) == list(CRASH_POINTS)
