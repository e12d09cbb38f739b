"""A start that does not come to its end: broken off, by a person or a kill, or of what can't start.

It leaves nothing that `saga down` can't find.
"""

import os
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from saga.runtime.data_directory import claim
from saga.runtime.errors import NotRunning
from saga.runtime.system.state import is_locked, read_system
from support.command import SAGA
from support.waiting import DEADLINE, wait_until

STACK = 'service = "shop"\npackage = "shop"\ndatabase = "shop"\n[functions.sell]\n'
HANGS = "import signal\nsignal.pause()\n"
SELLS = """
import peewee

from saga.runtime import Command, Event, Table, function


class Sold(Event, topic="shop.events"):
    pass


class Sell(Command, topic="shop.sell", event=Sold):
    pass


class Sale(Table):
    price = peewee.IntegerField()


@function
def sell(command: Sell) -> Sold:
    return Sold()
"""


def lay_out_shop(system: Any, code: str) -> dict[str, str]:
    """Make a stack of one function the system's only one; return the environment to start it in."""
    for path in system.stacks.iterdir():
        path.unlink()
    (system.stacks / "shop.toml").write_text(STACK)
    package = system.stacks / "shop"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "sell.py").write_text(code)
    return {"PYTHONPATH": str(system.stacks)}


@pytest.fixture
def starting(make_system: Callable[[], Any]) -> Iterator[tuple[Any, "subprocess.Popen[str]"]]:
    """A system that is for ever about to start, and the command that waits for it."""
    system = make_system()
    own = {"SAGA_DATA": str(system.data), "SAGA_STACKS": str(system.stacks)}
    up = subprocess.Popen(
        [SAGA, "up", "--detach"],
        env={**os.environ, **own, **lay_out_shop(system, HANGS)},
        stderr=subprocess.PIPE,
        text=True,
    )
    with up:
        wait_until(lambda: hanging(system), "the function is imported")
        yield system, up
        up.kill()


def hanging(system: Any) -> list[psutil.Process]:
    """List the supervisor of a system, and what it has started: a fork server, and from there."""
    try:
        supervisor = psutil.Process(read_system(system.data).supervisor.pid)
        found = [supervisor, *supervisor.children(recursive=True)]
        return found if len(found) > 3 else []
    except (NotRunning, psutil.NoSuchProcess):
        return []


def test_ctrl_c_stops_what_was_about_to_start(starting: Any) -> None:
    system, up = starting
    processes = hanging(system)
    up.send_signal(signal.SIGINT)
    assert up.wait(DEADLINE) != 0
    assert not is_locked(system.data)
    psutil.wait_procs(processes, DEADLINE)
    assert [process for process in processes if process.is_running()] == []


def test_down_stops_what_nobody_waits_for_any_more(starting: Any) -> None:
    system, up = starting
    up.kill()
    assert system.saga("down").stdout == "Stopped.\n"
    assert not is_locked(system.data)


@pytest.mark.proof
def test_nothing_hangs_on_where_the_supervisor_is_killed(starting: Any) -> None:
    system, _ = starting
    supervisor, *others = hanging(system)
    supervisor.kill()
    assert psutil.wait_procs(others, DEADLINE)[1] == []


def test_what_ends_at_each_start_is_told_and_the_system_stays_up(
    make_system: Callable[[], Any],
) -> None:
    system = make_system()
    system.environment = lay_out_shop(system, SELLS)
    claim(system.data)
    database = sqlite3.connect(system.data / "shop.db")
    database.execute("CREATE TABLE sale (id INTEGER PRIMARY KEY)")
    database.close()
    try:
        told = system.saga("up", "--detach", check=False)
        assert told.returncode == 1
        assert told.stderr.startswith("saga: shop.sell has ended 3 times before it was ready: ")
        assert "table sale has no column price: " in told.stderr
        assert told.stderr.endswith(
            "; see `saga logs shop.sell`. It is tried again and the others run, until `saga down`\n"
        )
        database = sqlite3.connect(system.data / "shop.db")
        database.execute("ALTER TABLE sale ADD COLUMN price INTEGER")
        database.close()
        wait_until(lambda: system.processes()["shop.sell"]["state"] == "ready", "it is mended")
    finally:
        assert system.saga("down").stdout == "Stopped.\n"
