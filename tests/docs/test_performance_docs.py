"""The commands of docs/performance.md, run for a moment, on what needs no other engine."""

import importlib
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.systems import SYSTEMS
from support.waiting import DEADLINE

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "performance.md").read_text()
COMMANDS = re.findall(r"(?m)^\.venv/bin/python -m (benchmarks.*)$", PAGE)
SOON = ["--in-flight", "2", "--rounds", "1", "--seconds", "0.5", "--start", "0.1"]


def command(module: str, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", module, "--folder", folder, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )


class Understood(Exception):
    """All words of a command are known; it would begin now."""


def understood() -> None:
    raise Understood


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_is_understood(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, *arguments = shlex.split(line, comments=True)
    module = importlib.import_module("benchmarks.__main__" if name == "benchmarks" else name)
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    monkeypatch.setattr(module, "as_a_command", understood)
    with pytest.raises(Understood):
        module.main()


@pytest.mark.proof
@pytest.mark.parametrize("system", ["ours", "bare"])
def test_system_is_measured_and_found_right(system: str, tmp_path: Path) -> None:
    done = command("benchmarks", tmp_path, "--systems", system, *SOON, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    [cell] = told["cells"]
    assert (cell["system"], cell["in_flight"]) == (system, 2)
    assert cell["orders"] > 1
    assert {"broker", "saga host", "adapters", "functions"} <= cell["cpu"].keys()
    assert told["machine"]["cores"]
    assert "synchronous full" in told["syncs"][system]


@pytest.mark.proof
def test_hops_of_an_order_are_told(tmp_path: Path) -> None:
    done = command("benchmarks.hops", tmp_path, "--orders", "5", "--warm-up", "9")
    assert "| mean of 5 orders |" in done.stdout, done.stderr


@pytest.mark.proof
def test_what_an_order_touches_is_told(tmp_path: Path) -> None:
    briefly = ["--systems", "bare", "--orders", "1", "--seconds", "0.5", "--start", "0.1"]
    done = command("benchmarks.footprint", tmp_path, *briefly)
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ") for line in done.stdout.splitlines()]
    assert [row[1] for row in rows[2:]] == ["broker", "saga host", "adapters", "functions", "all"]
    assert all(float(row[2]) > 1 for row in rows[2:])


@pytest.mark.proof
def test_recovery_of_a_killed_function_is_told(tmp_path: Path) -> None:
    done = command("benchmarks.recovery", tmp_path, "--kills", "1")
    assert re.search(r"seconds: \d+\.\d\d\nmedian", done.stdout), done.stderr


@pytest.mark.proof
def test_idle_system_is_measured(tmp_path: Path) -> None:
    done = command("benchmarks.idle", tmp_path, "--seconds", "0.2")
    assert done.returncode == 0, done.stderr
    ready, ps, helped, _, *table = done.stdout.splitlines()
    assert ready.startswith("all ready after ")
    assert (ps[:8], helped[:12]) == ("saga ps:", "saga --help:")
    megabytes = {line.split(" | ")[0][2:]: int(line.split(" | ")[2][:-2]) for line in table[2:]}
    assert megabytes.keys() >= {"supervisor", "broker", "saga host", "adapters", "functions"}
    assert all(megabytes.values())
    assert megabytes["all"] == pytest.approx(sum(megabytes.values()) / 2, abs=len(megabytes))


def test_page_names_every_system() -> None:
    assert {name for name in SYSTEMS if f"`{name}`" not in PAGE} == set()
