"""Whom a mishap meets; a process that is frozen goes on, whatever becomes of the run."""

import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from saga.runtime.system.process import ProcessInfo
from saga.stacks import mishaps
from saga.stacks.mishaps import Freezer, Killer


@pytest.fixture
def sleeper() -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process.pid
        process.kill()


def state(pid: int) -> str:
    """Return what the kernel says of a process: T where it is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_each_process_is_killed_as_often_but_those_that_are_spared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alive = [ProcessInfo(name=name, kind="function", state="ready", pid=0) for name in "abc"]
    alive.append(ProcessInfo(name="d", kind="function", state="starting"))

    def end(process: ProcessInfo, _: int) -> bool:
        alive[alive.index(process)] = process.model_copy(update={"pid": (process.pid or 0) + 1})
        return True

    monkeypatch.setattr(mishaps, "_alive", lambda _: list(alive))
    monkeypatch.setattr(ProcessInfo, "signal", end)
    killer = Killer(Path(), random.Random(1), lambda: ("b",) if killer.kills["b"] else ())
    while killer.kills.total() < 10:
        killer.happen()
    assert killer.kills["b"] == 1
    assert abs(killer.kills["a"] - killer.kills["c"]) <= 1
    assert killer.missing() == ["kill of d"]


def test_killer_waits_for_whom_it_has_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    one = ProcessInfo(name="a", kind="function", state="ready", pid=1)
    again = one.model_copy(update={"pid": 2})
    looks = [[one], [one], [], [again.model_copy(update={"state": "starting"})], [again]]
    monkeypatch.setattr(mishaps, "_alive", lambda _: looks.pop(0))
    monkeypatch.setattr(ProcessInfo, "signal", lambda *_: True)
    Killer(Path(), random.Random(1)).happen()
    assert looks == []


@pytest.mark.parametrize("fails", [False, True])
def test_frozen_process_goes_on(
    sleeper: int, fails: bool, monkeypatch: pytest.MonkeyPatch, until: object
) -> None:
    seen = []

    def wait(_: float) -> bool:
        until(lambda: state(sleeper) == "T", "it is stopped")  # type: ignore[operator]
        seen.append(state(sleeper))
        if fails:
            raise KeyError
        return True

    freezer = Freezer(Path(), random.Random(1))
    info = ProcessInfo(name="f", kind="function")
    info.runs_as(sleeper)
    monkeypatch.setattr(mishaps, "_alive", lambda _: [info])
    monkeypatch.setattr(freezer.done, "wait", wait)
    with pytest.raises(KeyError) if fails else nullcontext():
        freezer.happen()
    assert seen == ["T"]
    assert freezer.seen == {"freezes": 1}
    until(lambda: state(sleeper) != "T", "it goes on")  # type: ignore[operator]
