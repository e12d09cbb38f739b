"""A process is known by its number and its start."""

import signal
import subprocess
from collections.abc import Iterator

import psutil
import pytest

from saga.runtime.system import process as module
from saga.runtime.system.process import SAME, ProcessInfo, end, is_same
from support.waiting import DEADLINE, wait_until

RUNS = "exec sleep 600"
IGNORES_SIGTERM = "trap '' TERM; echo begun; exec sleep 600"


@pytest.fixture
def process() -> Iterator["subprocess.Popen[str]"]:
    with run(RUNS) as started:
        yield started
        started.kill()


def run(script: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(["/bin/sh", "-c", script], stdout=subprocess.PIPE, text=True)


def info(process: "subprocess.Popen[str]") -> ProcessInfo:
    found = ProcessInfo(name="x", kind="function")
    found.runs_as(process.pid)
    return found


@pytest.mark.parametrize(
    ("born", "now", "same"),
    [
        (1000.0, 1000.0, True),
        (1000.0, 1000.0 + SAME, True),
        (1000.0, 1000.0 - SAME, True),
        (1000.0, 1000.01 + SAME, False),
        (1000.0, 999.99 - SAME, False),
        (1000.0, None, False),
        (None, 1000.0, False),
        (None, None, False),
    ],
)
def test_one_process_has_one_start(born: float | None, now: float | None, same: bool) -> None:
    assert is_same(born, now) is same


def test_a_process_runs_until_it_has_ended(process: "subprocess.Popen[str]") -> None:
    known = info(process)
    assert known.runs
    assert known.signal(signal.SIGKILL)
    wait_until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE, "it ends")
    assert not known.runs, "what is dead runs no more, whether its parent has taken note or not"
    process.wait(DEADLINE)
    assert not known.signal(signal.SIGKILL)


def test_one_that_was_given_the_number_gets_no_signal(process: "subprocess.Popen[str]") -> None:
    known = info(process)
    known.born = known.born - 60
    assert not known.signal(signal.SIGKILL)
    end([known])
    assert process.poll() is None


def test_what_runs_no_more_is_no_process() -> None:
    gone = ProcessInfo(name="x", kind="function", pid=7, born=1.0)
    gone.runs_as(None)
    assert (gone.pid, gone.born, gone.runs) == (None, None, False)
    assert not gone.signal(signal.SIGKILL)


def test_what_ignores_sigterm_is_killed(
    process: "subprocess.Popen[str]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "END_TIMEOUT", 0.1)
    with run(IGNORES_SIGTERM) as deaf:
        assert deaf.stdout is not None
        assert deaf.stdout.readline() == "begun\n"
        end([info(process), info(deaf), ProcessInfo(name="x", kind="function")])
        assert deaf.wait(DEADLINE) == -signal.SIGKILL
    assert process.wait(DEADLINE) == -signal.SIGTERM
