"""A process that is frozen goes on, whatever becomes of the run."""

import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from saga.runtime.system.process import ProcessInfo
from saga.stacks import mishaps
from saga.stacks.mishaps import Freezer


@pytest.fixture
def sleeper() -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process.pid
        process.kill()


def state(pid: int) -> str:
    """Return what the kernel says of a process: T where it is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


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
    assert freezer.frozen == 1
    until(lambda: state(sleeper) != "T", "it goes on")  # type: ignore[operator]
