"""The trip in `examples/`, as its README has a user run it."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from support.command import run_saga
from support.ports import free_port
from support.waiting import DEADLINE

TRIP = Path(__file__).parents[2] / "examples" / "trip"


README = (TRIP / "README.md").read_text()


@dataclass
class Running:
    """The trip system: where its data and its stacks are, and the address of its API."""

    folder: Path
    api: str

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        own = {"SAGA_DATA": self.folder / "data", "SAGA_STACKS": self.folder / "stacks"}
        return run(*command, **{name: str(path) for name, path in own.items()})


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    program, *arguments = command
    settings = {**os.environ, "PYTHONPATH": ".", **environment}
    if program == "saga":
        return run_saga(arguments, settings, TRIP)
    return subprocess.run(
        command,
        cwd=TRIP,
        env=settings,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )


@pytest.mark.proof
def test_its_own_tests_pass() -> None:
    done = run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\d+ passed", done.stdout)


def test_saga_check_finds_nothing_wrong() -> None:
    done = run("saga", "check")
    assert done.stdout == "stacks: 6 functions, 1 saga, no problems.\n", done.stdout + done.stderr
    assert done.returncode == 0


def lay_out(folder: Path) -> Running:
    """Copy the stacks with a free port in place of their own, which somebody may have taken."""
    stacks = shutil.copytree(TRIP / "stacks", folder / "stacks")
    port = free_port()
    trip = stacks / "trip.toml"
    trip.write_text(trip.read_text().replace("port = 8004", f"port = {port}"))
    return Running(folder, f"http://127.0.0.1:{port}")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The trip system, up and stocked."""
    system = lay_out(tmp_path_factory.mktemp("trip"))
    try:
        started = system.run("saga", "up", "--detach")
        assert "trip.book_trip" in started.stdout, started.stdout + started.stderr
        stocked = system.run(sys.executable, "stock.py")
        assert stocked.returncode == 0, stocked.stderr
        yield system
    finally:
        system.run("saga", "down")


@pytest.mark.proof
def test_a_trip_completes_and_the_next_is_undone(running: Running) -> None:
    book = re.findall(r"python (book\.py .*?) +# (\w+)", README)
    assert [status for _, status in book] == ["COMPLETED", "COMPENSATED"]
    for command, status in book:
        done = running.run(sys.executable, *command.split())
        assert done.returncode == 0, done.stderr
        saga_id, reached, *_ = done.stdout.replace(":", " ").split()
        assert reached == status, done.stdout
        told = running.run("saga", "show", saga_id, "--json")
        assert told.returncode == 0, told.stderr
        shown = json.loads(told.stdout)
        assert shown["status"] == status
    assert [step["status"] for step in shown["steps"]] == ["UNDONE", "UNDONE", "REJECTED"]


def test_a_trip_is_booked_and_found_over_http(running: Running) -> None:
    [(port, start, body)] = re.findall(
        r"curl localhost:(\d+)(\S+) --json '(.*?)'", README, re.DOTALL
    )
    [(again, found)] = re.findall(r"curl 'localhost:(\d+)(\S+)'", README)
    assert f"port = {port}\n" in (TRIP / "stacks" / "trip.toml").read_text()
    assert again == port
    wish = json.loads(body)
    prefer = {"prefer": "wait=30"}
    booked = httpx.post(running.api + start, json=wish, headers=prefer, timeout=DEADLINE)
    assert (booked.status_code, booked.json()["input"]) == (200, wish)
    assert booked.json()["status"] in ("COMPLETED", "COMPENSATED")
    assert httpx.get(running.api + found).json() == [booked.json()]
    assert httpx.get(running.api + start, params={"traveller": "Zoe"}).json() == []


def test_its_adapter_is_short() -> None:
    assert len((TRIP / "trip" / "adapter.py").read_text().splitlines()) <= 20


def test_its_readme_is_short() -> None:
    assert len([line for line in README.splitlines() if line]) <= 12
