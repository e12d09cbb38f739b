"""How a supervisor stops its processes, seen on small programs of the shell."""

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from saga.runtime.data_directory import claim
from saga.runtime.deploy.processes import Processes
from saga.runtime.deploy.target import NotHealthy
from saga.runtime.errors import ContractError, StackError
from saga.runtime.settings import Settings
from saga.runtime.system import supervisor as module
from saga.runtime.system.child import DRAIN_TIMEOUT, Child
from saga.runtime.system.code import STACK_FILE
from saga.runtime.system.listening import Listening
from saga.runtime.system.process import Kind, ProcessInfo
from saga.runtime.system.state import CODE, System, identity, lock_system, read_system, write_system
from saga.runtime.system.supervisor import Supervisor
from saga.runtime.system.wanted import Wanted, read_wanted, write_wanted
from support.ports import free_ports
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

LISTENS = """
import socket, sys
with socket.create_server(("127.0.0.1", int(sys.argv[1]))):
    print("begun", flush=True)
    input()
"""

Run = Callable[[Kind, str, str], Child]


class Reached(Exception):
    """What a start comes to."""


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


def test_process_is_of_the_generation_that_is_wanted(tmp_path: Path) -> None:
    one = ProcessInfo(name="a.f", kind="function", deployed="a.f", version="1")
    with lock_system(tmp_path):
        supervisor = ProcessInfo(name="supervisor", kind="supervisor")
        write_system(tmp_path, System(broker="a:1", stacks=tmp_path, processes=[supervisor, one]))
        for record, generation in (
            (None, ""),  # just begun to start
            ('{"a.f": {"deployed": "a.f", "version": "1", "generation": "x"}}', "x"),
            ("{", ""),
        ):
            if record is not None:
                (tmp_path / "wanted.json").write_text(record)
            [_, instance] = Processes(Settings(saga_data=tmp_path)).instances()
            assert instance.generation == generation


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


UNREADABLE = 'service = "shop"\nnew_key = 1\n'
WANTED = {
    "shop.sell": Wanted(deployed="shop.sell", version="new"),
    "shop.gone": Wanted(deployed="shop.gone", version="gone"),
    "shop": Wanted(deployed="shop", version="new"),
}


def test_a_version_that_cant_be_read_is_told_and_stops_nothing(
    supervisor: Supervisor, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    other = run("function", "other", DRAINS)
    new = supervisor.data / "code" / "new"
    new.mkdir(parents=True)
    (new / "stack.toml").write_text(UNREADABLE)
    write_wanted(supervisor.data, WANTED)
    for _ in range(2):
        supervisor._reconcile()
        supervisor._check_all(lambda _: None)
    [_, ready, *refused] = read_system(supervisor.data).processes
    assert (ready.name, ready.state) == ("other", "ready")
    assert other.alive()
    assert [(one.name, one.kind, one.state) for one in refused] == [
        ("shop.sell", "function", "unhealthy"),
        ("shop.gone", "function", "unhealthy"),
        ("shop", "adapter", "unhealthy"),
    ]
    assert refused[0].problem == f"{new}/stack.toml: package: Field required"
    assert caplog.messages[0] == f"shop.sell can't be started: {refused[0].problem}"
    assert len(caplog.messages) == 3
    processes = Processes(supervisor.settings)
    with pytest.raises(
        NotHealthy, match=r"^shop\.sell can't be started: .*package: Field required$"
    ):
        processes.is_ready("shop.sell")
    told = [instance.where for instance in processes.instances()[2:]]
    assert told == [one.problem for one in refused]
    write_wanted(supervisor.data, {})
    supervisor._reconcile()
    assert not supervisor._refused


def test_what_one_part_of_the_loop_raises_stops_no_other_and_is_logged_once(
    supervisor: Supervisor,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    odd, dead = run("function", "odd", DRAINS), run("function", "dead", DIES_AT_ONCE)
    dead.process.wait(DEADLINE)
    monkeypatch.setattr(odd, "check", lambda: 1 // 0)
    for _ in range(2):
        supervisor._guarded("what runs", lambda: supervisor._check_all(lambda _: None))
    assert dead.info.state == "restarting"
    assert [message for message in caplog.messages if "odd" in message] == [
        "odd: the supervisor goes on after an error"
    ]


def test_files_that_tell_of_the_system_are_written_anew(supervisor: Supervisor) -> None:
    for _ in range(2):
        supervisor._reconcile()
        supervisor._check_all(lambda _: None)
        assert read_system(supervisor.data).supervisor.runs
        assert read_wanted(supervisor.data) == {}
        (supervisor.data / "system.json").unlink()
        (supervisor.data / "wanted.json").unlink()


def test_what_is_started_again_has_its_code(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, version = list[str](), "0f" * 32
    code = supervisor.data / CODE / version
    code.mkdir(parents=True)
    (code / STACK_FILE).write_text('service = "s"\npackage = "s"\ndatabase = "s"\n[functions.f]')
    monkeypatch.setattr(supervisor, "_restore", done.append)
    monkeypatch.setattr(module, "Launch", lambda *_: lambda: done.append("launched"))
    child = supervisor._child("s.f", Wanted(deployed="s.f", version=version))
    child.launch()
    child.info.restarts = 1
    child.launch()
    assert done == ["launched", version, "launched"]
    assert supervisor._databases == {supervisor.data / "s.db"}


def test_what_waits_to_be_started_again_is_not(supervisor: Supervisor, run: Run) -> None:
    dead = run("function", "dead", DIES_AT_ONCE)
    dead.process.wait(DEADLINE)
    supervisor._check_all(lambda _: None)
    states = [one.state for one in read_system(supervisor.data).processes]
    assert states == ["starting", "restarting"]
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


def test_what_a_killed_supervisor_has_left_makes_room_on_its_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(Supervisor, "_start_all", lambda _: (_ for _ in ()).throw(Reached))
    [port] = free_ports(1)
    stacks, data = tmp_path / "stacks", tmp_path / "data"
    stacks.mkdir()
    text = f'service = "web"\npackage = "web"\ndatabase = "web"\nadapter = "web"\nport = {port}\n'
    (stacks / "web.toml").write_text(text)
    settings = Settings(saga_data=data, saga_stacks=stacks)
    claim(data)
    with subprocess.Popen(
        [sys.executable, "-c", LISTENS, str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as left:
        assert left.stdout is not None
        assert left.stdout.readline() == "begun\n"
        with pytest.raises(StackError, match=f"port {port} of web on 127.0.0.1 can't be had"):
            Supervisor(settings, "127.0.0.1:1", lambda _: {}).run()
        info = ProcessInfo(name="web", kind="adapter")
        info.runs_as(left.pid)
        found = System(folder=identity(data), broker="", stacks=stacks, processes=[info])
        write_system(data, found)
        with pytest.raises(Reached):
            Supervisor(settings, "127.0.0.1:1", lambda _: {}).run()
        assert left.wait(DEADLINE) == -signal.SIGTERM


def test_an_old_sqlite_is_told_before_anything_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All would be ready, every write would fail, and each order be compensated."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    monkeypatch.setattr(Listening, "on_all", lambda *_: None)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(Supervisor, "_start_all", lambda _: (_ for _ in ()).throw(Reached))
    with pytest.raises(ContractError, match=r"^SQLite 3\.35 or newer is needed"):
        Supervisor(Settings(saga_data=tmp_path), "127.0.0.1:1", lambda _: {}).run()
    elsewhere = Settings(saga_data=tmp_path, saga_database_url=SecretStr("postgresql://db/x"))
    with pytest.raises(Reached):
        Supervisor(elsewhere, "127.0.0.1:1", lambda _: {}).run()


def test_a_system_that_stops_before_anything_runs_is_not_ready(supervisor: Supervisor) -> None:
    supervisor._stop_all()
    assert not read_system(supervisor.data).ready


def test_load_of_what_runs_is_looked_at(supervisor: Supervisor, run: Run) -> None:
    looked: list[list[int]] = []

    class Looking:
        def look(self, pids: list[int]) -> None:
            looked.append(pids)

    runs, waits = run("function", "sell", DRAINS), run("function", "dead", DIES_AT_ONCE)
    waits.process.wait(DEADLINE)
    supervisor._check_all(lambda _: None)
    supervisor._scheduling = Looking()  # type: ignore[assignment]
    supervisor._look_at_load()
    assert looked == [[runs.process.pid]]


def test_load_is_looked_at_as_long_as_the_system_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Supervisor] = []

    def look(supervisor: Supervisor) -> None:
        looks.append(supervisor)
        if len(looks) == 2:
            supervisor._stop.set()

    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(Listening, "on_all", lambda *_: None)
    monkeypatch.setattr(Supervisor, "_start_all", lambda _: None)
    monkeypatch.setattr(Supervisor, "_look_at_load", look)
    supervisor = Supervisor(Settings(saga_data=tmp_path), "127.0.0.1:1", lambda _: {})
    supervisor.run()
    assert looks == [supervisor] * 2
