"""The trip in `examples/`, as its README has a user run it."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TRIP = Path(__file__).parents[2] / "examples" / "trip"
BIN = Path(sys.executable).parent


def run(*command: object, data: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SAGA_STACKS": "stacks", "PYTHONPATH": "."}
    if data is not None:
        environment["SAGA_DATA"] = str(data)
    return subprocess.run(
        [str(word) for word in command],
        cwd=TRIP,
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
    )


def test_its_own_tests_pass() -> None:
    done = run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\d+ passed", done.stdout)


def test_saga_check_finds_nothing_wrong() -> None:
    done = run(BIN / "saga", "check")
    assert done.stdout == "6 functions, 1 saga, no problems.\n", done.stdout + done.stderr
    assert done.returncode == 0


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The trip system, up and stocked; its data directory."""
    data = tmp_path_factory.mktemp("trip")
    try:
        started = run(BIN / "saga", "up", "--detach", data=data)
        assert "trip.book_trip" in started.stdout, started.stdout + started.stderr
        stocked = run(sys.executable, "stock.py", data=data)
        assert stocked.returncode == 0, stocked.stderr
        yield data
    finally:
        run(BIN / "saga", "down", data=data)


def test_a_trip_completes_and_the_next_is_undone(running: Path) -> None:
    book = re.findall(r"python (book\.py .*?) +# (\w+)", (TRIP / "README.md").read_text())
    assert [status for _, status in book] == ["COMPLETED", "COMPENSATED"]
    for command, status in book:
        done = run(sys.executable, *command.split(), data=running)
        assert done.returncode == 0, done.stderr
        saga_id, reached, *_ = done.stdout.replace(":", " ").split()
        assert reached == status, done.stdout
        shown = json.loads(run(BIN / "saga", "show", saga_id, "--json", data=running).stdout)
        assert shown["status"] == status
    assert [step["status"] for step in shown["steps"]] == ["UNDONE", "UNDONE", "REJECTED"]


def test_its_readme_is_short() -> None:
    text = (TRIP / "README.md").read_text()
    assert len([line for line in text.splitlines() if line]) <= 12
