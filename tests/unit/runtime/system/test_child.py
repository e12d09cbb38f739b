"""One process under supervision: back-off, drain and kill, seen on small programs."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from multiprocessing import Pipe
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import pytest

from saga.runtime.errors import BrokerUnavailable, SagaError
from saga.runtime.health import STALE_AFTER
from saga.runtime.system import child as module
from saga.runtime.system.child import BACK_OFF, DRAIN_TIMEOUT, HEALTHY_AFTER, LOOK_EVERY, Child
from saga.runtime.system.process import ProcessInfo
from support.waiting import DEADLINE

DIES_AT_ONCE = "exit 3"
RUNS = "echo begun; exec sleep 600"
IGNORES_SIGTERM = f"trap '' TERM; {RUNS}"
# As a worker does, it finishes what it has begun; the test says when that is.
DRAINS = "trap : TERM; echo begun; until read batch; do :; done; echo $batch > finished"


class Clock:
    """Stands in for the module `time`."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


class Program:
    """A child that runs a script of the shell, and all processes that were started for it."""

    def __init__(self, folder: Path) -> None:
        self.script, self.errors = RUNS, list[Exception]()
        self.started = list["subprocess.Popen[str]"]()
        self.folder = folder
        info = ProcessInfo(name="shop.sell", kind="function")
        self.health = folder / "health"
        self.child = Child(info, self.launch, folder / "log", health=self.health)

    def launch(self) -> "subprocess.Popen[str]":
        if self.errors:
            raise self.errors.pop()
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            ["/bin/sh", "-c", self.script], cwd=self.folder, stdin=pipe, stdout=pipe, text=True
        )
        self.started.append(process)
        return process

    def run(self, script: str) -> None:
        """Start the script, and wait until it has set its traps."""
        self.script = script
        self.child.start()
        assert file(self.started[-1].stdout).readline() == "begun\n"

    def die(self) -> None:
        """Start a script that ends at once, and let the child see it."""
        self.script = DIES_AT_ONCE
        self.child.try_start()
        self.see_the_end()

    def see_the_end(self) -> None:
        self.started[-1].wait(DEADLINE)
        assert self.child.check()

    def start_again(self, clock: Clock) -> float:
        """Let time pass until the process is started again; return the seconds."""
        began, count = clock.now, len(self.started)
        clock.now = self.child.restart_at - 0.001
        assert not self.child.check()
        assert len(self.started) == count
        clock.now = self.child.restart_at
        assert self.child.check()
        return clock.now - began


class Starting:
    """A child that is a process which may report, and ends when it is told to."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.clock, self.reports, self.alive = clock, list[Any](), False
        news, end = Pipe(duplex=False)
        end.close()  # so that there always are some
        self.reports.append(news)
        self.process = SimpleNamespace(
            pid=None, is_alive=lambda: self.alive, exitcode=1, sentinel=news.fileno()
        )
        self.child = Child(
            ProcessInfo(name="shop.sell", kind="function"), self.launch, folder / "log"
        )
        self.child.start()

    def launch(self) -> object:
        ours, theirs = Pipe(duplex=False)
        self.reports += [ours, theirs]
        self.alive = True
        return self.process, ours

    def ends(self, after: float = 0.0, *, ready: bool = False) -> int:
        """End after some seconds, ready just before or never; return how many starts failed."""
        self.clock.now += after
        if ready:
            self.reports[-1].send(())
        self.alive = False
        while self.child.info.state != "restarting":
            assert self.child.check()
        failed = self.child.info.failed_starts
        self.clock.now = self.child.restart_at
        assert self.child.check()
        return failed

    def forget(self) -> None:
        for end in self.reports:
            end.close()


def file(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


@pytest.fixture
def program(tmp_path: Path, clock: Clock) -> Iterator[Program]:
    program = Program(tmp_path)
    yield program
    for process in program.started:
        process.kill()
        process.communicate()


def test_a_process_that_dies_at_once_is_started_again_with_growing_waits(
    program: Program, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    program.die()
    assert (program.child.info.state, program.child.info.pid) == ("restarting", None)
    assert "shop.sell ended (exit code 3); starting it again in" in caplog.text
    waits = []
    for count in range(1, 9):
        waits.append(program.start_again(clock))
        assert program.child.info.restarts == count
        program.see_the_end()
    assert waits[:6] == sorted(waits[:6])
    assert BACK_OFF.first / 2 <= waits[0] <= BACK_OFF.first
    assert all(later >= BACK_OFF.longest / 2 for later in waits[6:])
    assert max(waits) <= BACK_OFF.longest


def test_waits_begin_anew_for_a_process_that_ran_well(program: Program, clock: Clock) -> None:
    program.die()
    for _ in range(5):
        program.start_again(clock)
        program.see_the_end()
    program.start_again(clock)
    clock.now += HEALTHY_AFTER + 1
    program.see_the_end()
    assert program.child.restart_at - clock.now <= BACK_OFF.first


@pytest.mark.parametrize("error", [BrokerUnavailable("away"), OSError("no memory")])
def test_a_process_that_cant_be_started_is_tried_again(
    program: Program, clock: Clock, error: Exception
) -> None:
    program.errors = [error, error]
    program.child.try_start()
    first = program.start_again(clock)
    assert program.start_again(clock) >= first
    assert (program.child.info.state, len(program.started)) == ("ready", 1)


def test_why_a_process_cant_be_started_is_told_until_it_is(program: Program, clock: Clock) -> None:
    program.errors = [SagaError("its code was removed")]
    program.child.try_start()
    info = program.child.info
    assert (info.state, info.problem) == ("restarting", "its code was removed")
    assert info.failed_starts == 0
    program.start_again(clock)
    assert info.problem is None


def test_a_folder_of_logs_that_was_removed_is_made_anew(program: Program, tmp_path: Path) -> None:
    program.child.log_file = tmp_path / "logs" / "log"
    program.run(RUNS)
    assert (tmp_path / "logs").is_dir()


def test_an_error_of_our_own_in_a_start_is_not_hidden(program: Program) -> None:
    program.errors = [ZeroDivisionError()]
    with pytest.raises(ZeroDivisionError):
        program.child.try_start()


@pytest.mark.parametrize(("number", "name"), [(9, "SIGKILL"), (36, "signal 36")])
def test_the_signal_that_ended_a_process_is_told(
    program: Program, caplog: pytest.LogCaptureFixture, number: int, name: str
) -> None:
    program.run(RUNS)
    program.started[-1].send_signal(number)
    program.see_the_end()
    assert f"shop.sell ended ({name})" in caplog.text


def test_a_process_that_ends_when_told_is_not_started_again(program: Program, clock: Clock) -> None:
    program.run(RUNS)
    program.child.stop()
    program.see_the_end()
    assert program.child.info.state == "stopped"
    clock.now += 3600
    program.child.check()
    assert len(program.started) == 1
    assert program.started[0].returncode == -signal.SIGTERM


def test_a_draining_process_finishes_what_it_has_begun(program: Program, clock: Clock) -> None:
    program.run(DRAINS)
    program.child.stop()
    clock.now += DRAIN_TIMEOUT
    assert not program.child.check()
    assert program.child.alive()
    file(program.started[0].stdin).write("a batch\n")
    file(program.started[0].stdin).flush()
    program.see_the_end()
    assert program.started[0].returncode == 0
    assert (program.folder / "finished").read_text() == "a batch\n"
    assert program.child.info.state == "stopped"


def test_a_process_that_ignores_sigterm_is_killed_after_the_drain_time(
    program: Program, clock: Clock
) -> None:
    program.run(IGNORES_SIGTERM)
    program.child.stop()
    clock.now += DRAIN_TIMEOUT
    assert not program.child.check()
    assert program.child.alive()
    clock.now += 0.001
    program.child.check()
    program.see_the_end()
    assert program.started[0].returncode == -signal.SIGKILL
    assert program.child.info.state == "stopped"


def test_kill_ends_what_still_runs_and_says_so(
    program: Program, caplog: pytest.LogCaptureFixture
) -> None:
    program.run(IGNORES_SIGTERM)
    program.child.stop()
    program.child.kill()
    assert program.started[0].wait(DEADLINE) == -signal.SIGKILL
    assert (program.child.info.state, program.child.info.pid) == ("stopped", None)
    assert caplog.messages == ["shop.sell did not stop in 10 s"]
    program.child.kill()
    assert len(caplog.messages) == 1


def test_a_process_is_ready_when_it_has_reported_its_topics(tmp_path: Path) -> None:
    ours, theirs = Pipe(duplex=False)
    process = SimpleNamespace(pid=1, is_alive=lambda: True, exitcode=None, sentinel=ours.fileno())
    launch: Callable[[], object] = lambda: (process, ours)  # noqa: E731
    child = Child(ProcessInfo(name="shop.sell", kind="function"), launch, tmp_path / "log")
    child.start()
    assert (child.check(), child.info.state) == (False, "starting")
    theirs.send(("shop.sell", "shop.more"))
    assert (child.check(), child.info.state) == (True, "ready")
    assert child.info.topic == "shop.sell shop.more"
    theirs.close()
    assert not child.check()
    ours.close()


@pytest.fixture
def starting(tmp_path: Path, clock: Clock) -> Iterator[Starting]:
    starting = Starting(tmp_path, clock)
    yield starting
    starting.forget()


def test_ends_before_it_was_ready_are_counted_until_it_is(starting: Starting) -> None:
    assert [starting.ends() for _ in range(3)] == [1, 2, 3]
    assert starting.ends(ready=True) == 0
    assert [starting.ends() for _ in range(2)] == [1, 2]


def test_an_end_after_a_long_wait_is_no_failed_start(starting: Starting) -> None:
    """It may have waited for its broker, or for the machine."""
    assert starting.ends(after=HEALTHY_AFTER) == 1
    assert starting.ends(after=HEALTHY_AFTER + 1) == 0


def stand_still(program: Program, seconds: float) -> None:
    program.health.touch()
    then = program.health.stat().st_mtime - seconds
    os.utime(program.health, (then, then))


def look(program: Program, clock: Clock) -> None:
    clock.now += LOOK_EVERY
    program.child.check()


def test_what_stands_still_is_ended_and_started_again(program: Program, clock: Clock) -> None:
    program.child.start()
    stand_still(program, STALE_AFTER + 60)
    look(program, clock)
    assert program.child.alive(), "this machine may have slept"
    look(program, clock)
    assert program.started[0].wait(DEADLINE) == -signal.SIGALRM
    program.see_the_end()
    program.start_again(clock)
    assert len(program.started) == 2
    assert not program.health.exists(), "what its predecessor has left tells nothing of it"
    look(program, clock)
    assert program.child.alive()


def test_what_does_not_even_die_of_it_is_killed(program: Program, clock: Clock) -> None:
    program.run(f"trap '' ALRM; {RUNS}")
    stand_still(program, STALE_AFTER + 60)
    for _ in range(3):
        look(program, clock)
    assert program.started[0].wait(DEADLINE) == -signal.SIGKILL


@pytest.mark.parametrize("seconds", [0.0, STALE_AFTER - 10, None])
def test_what_turns_its_loop_or_waits_to_join_is_left_alone(
    program: Program, clock: Clock, seconds: float | None
) -> None:
    program.child.start()
    if seconds is not None:
        stand_still(program, seconds)
    for _ in range(3):
        look(program, clock)
    assert program.child.alive()


def test_one_that_turns_again_is_left_alone(program: Program, clock: Clock) -> None:
    program.child.start()
    for seconds in (STALE_AFTER + 60, 0.0, STALE_AFTER + 60):
        stand_still(program, seconds)
        look(program, clock)
    assert program.child.alive()
