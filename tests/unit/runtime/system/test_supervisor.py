"""How a supervisor stops its processes, seen on small programs of the shell."""

import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from saga.runtime.settings import Settings
from saga.runtime.system import supervisor as module
from saga.runtime.system.child import DRAIN_TIMEOUT, Child
from saga.runtime.system.state import Kind, ProcessInfo, lock_system, read_system
from saga.runtime.system.supervisor import Supervisor
from support.waiting import DEADLINE, wait_until

# Tells in one file when it is told to stop, and when it has finished its batch.
DRAINS = """
trap 'echo told {name} >> told; stopping=1' TERM
echo begun
until [ "$stopping" ]; do sleep 0.01; done
sleep 0.05
echo done {name} >> told
"""
IGNORES_SIGTERM = "trap '' TERM; echo begun; exec sleep 600"
DIES_AT_ONCE = "echo begun; exit 3"

Run = Callable[[Kind, str, str], Child]


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    with lock_system(tmp_path):
        yield Supervisor(Settings(saga_data=tmp_path), "127.0.0.1:1", lambda _: {})


@pytest.fixture
def run(supervisor: Supervisor, tmp_path: Path) -> Iterator[Run]:
    """Run scripts under the supervisor; kill what is left."""
    started: list[subprocess.Popen[str]] = []

    def run_script(kind: Kind, name: str, script: str) -> Child:
        def launch() -> "subprocess.Popen[str]":
            command = ["/bin/sh", "-c", script.format(name=name)]
            pipe = subprocess.PIPE
            started.append(subprocess.Popen(command, cwd=tmp_path, stdout=pipe, text=True))
            return started[-1]

        child = Child(ProcessInfo(name=name, kind=kind), launch, tmp_path / f"{name}.log")
        supervisor.children.append(child)
        child.start()
        output = started[-1].stdout
        assert output is not None
        assert output.readline() == "begun\n"
        return child

    yield run_script
    for process in started:
        process.kill()
        process.communicate()


def test_orders_are_stopped_first_and_the_broker_when_all_have_drained_to_it(
    supervisor: Supervisor, run: Run, tmp_path: Path
) -> None:
    run("broker", "broker", DRAINS)
    run("function", "sell", DRAINS)
    run("saga", "shop", DRAINS)
    run("adapter", "web", DRAINS)
    supervisor._stop_all()
    told = (tmp_path / "told").read_text().splitlines()
    assert told[:2] == ["told web", "done web"]
    assert sorted(told[2:6]) == ["done sell", "done shop", "told sell", "told shop"]
    assert told[6:] == ["told broker", "done broker"]
    assert {child.info.state for child in supervisor.children} == {"stopped"}
    assert [child.process.returncode for child in supervisor.children] == [0] * 4


def test_what_ignores_sigterm_is_killed_and_the_others_still_drain(
    supervisor: Supervisor,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run("broker", "broker", DRAINS)
    deaf = run("function", "deaf", IGNORES_SIGTERM)
    run("function", "sell", DRAINS)
    run("adapter", "web", DRAINS)

    def poll_until_drained(condition: Callable[[], bool], timeout: float, every: float) -> bool:
        """Wait for all but the deaf one, as long as that may take; it is out of time then."""
        assert timeout == DRAIN_TIMEOUT
        told = [child for child in supervisor.children if child.info.state == "stopping"]
        others = [child for child in told if child is not deaf]
        wait_until(lambda: not any(child.alive() for child in others), "all others have drained")
        return condition()

    monkeypatch.setattr(module, "poll_until", poll_until_drained)
    supervisor._stop_all()
    assert deaf.process.wait(DEADLINE) == -signal.SIGKILL
    told = (tmp_path / "told").read_text().split()[1::2]
    assert told == ["web", "web", "sell", "sell", "broker", "broker"]
    assert caplog.messages == ["deaf did not stop in 10 s"]


def test_what_waits_to_be_started_again_is_not(supervisor: Supervisor, run: Run) -> None:
    dead = run("function", "dead", DIES_AT_ONCE)
    dead.process.wait(DEADLINE)
    supervisor._check_all(lambda _: None)
    assert [one.state for one in read_system(supervisor.data).processes] == ["ready", "restarting"]
    first = dead.process
    supervisor._stop_all()
    assert (dead.process, dead.info.state) == (first, "stopped")


def test_a_process_that_has_stopped_is_forgotten(supervisor: Supervisor, run: Run) -> None:
    stopped, other = run("function", "sell", DRAINS), run("function", "shop", DRAINS)
    stopped.stop()
    stopped.process.wait(DEADLINE)
    supervisor._check_all(lambda _: None)
    assert supervisor.children == [other]
    names = [one.name for one in read_system(supervisor.data).processes]
    assert names == ["supervisor", "shop"]


def test_a_system_that_stops_before_anything_runs_is_not_ready(supervisor: Supervisor) -> None:
    supervisor._stop_all()
    assert not read_system(supervisor.data).ready
