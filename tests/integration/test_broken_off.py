"""A start that is broken off, by a person or a kill, leaves nothing that `saga down` can't find."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from saga.runtime.errors import NotRunning
from saga.runtime.system.state import is_locked, read_system
from support.command import SAGA
from support.waiting import DEADLINE, wait_until

STACK = 'service = "shop"\npackage = "hangs"\ndatabase = "shop"\n[functions.sell]\n'
HANGS = "import signal\nsignal.pause()\n"


@pytest.fixture
def starting(make_system: Callable[[], Any]) -> Iterator[tuple[Any, "subprocess.Popen[str]"]]:
    """A system that is for ever about to start, and the command that waits for it."""
    system = make_system()
    for path in system.stacks.iterdir():
        path.unlink()
    (system.stacks / "shop.toml").write_text(STACK)
    package = system.stacks / "hangs"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "sell.py").write_text(HANGS)
    own = {"SAGA_DATA": str(system.data), "SAGA_STACKS": str(system.stacks)}
    up = subprocess.Popen(
        [SAGA, "up", "--detach"],
        env={**os.environ, **own, "PYTHONPATH": str(system.stacks)},
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
