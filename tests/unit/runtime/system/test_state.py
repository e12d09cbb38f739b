"""What a system tells about itself, and who may hold its data directory."""

import os
import subprocess
import sys
import time

import psutil
import pytest

from saga.runtime.errors import NotRunning
from saga.runtime.system import state as system
from saga.runtime.system.state import AlreadyRunning, ProcessInfo, System

SLEEPER = [sys.executable, "-c", "input()"]


def a_system(*processes):
    return System(broker="127.0.0.1:9092", stacks="/stacks", processes=list(processes))


@pytest.fixture
def child():
    process = subprocess.Popen(SLEEPER, stdin=subprocess.PIPE)
    with process:
        yield process
        process.kill()


def test_running_system_is_read(tmp_path):
    written = a_system(ProcessInfo(name="user", kind="adapter", pid=1, port=8000))
    with system.lock(tmp_path):
        system.write(tmp_path, written)
        assert system.read(tmp_path) == written


def test_system_file_is_replaced_whole(tmp_path):
    with system.lock(tmp_path):
        system.write(tmp_path, a_system(*[ProcessInfo(name="x" * 99, kind="function")] * 99))
        system.write(tmp_path, a_system())
        assert system.read(tmp_path) == a_system()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "system.json"]


def test_stale_file_is_no_running_system(tmp_path):
    system.write(tmp_path, a_system())
    with pytest.raises(NotRunning, match="no system runs on"):
        system.read(tmp_path)


def test_empty_directory_has_no_running_system(tmp_path):
    with pytest.raises(NotRunning, match="saga up"):
        system.read(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_lock_is_held_by_one(tmp_path):
    second = system.lock(tmp_path)
    with system.lock(tmp_path), pytest.raises(AlreadyRunning, match="saga down"):
        second.__enter__()


def test_lock_is_free_again_after_its_block(tmp_path):
    with system.lock(tmp_path):
        assert system.is_locked(tmp_path)
    assert not system.is_locked(tmp_path)
    with system.lock(tmp_path):
        pass


def test_lock_is_held_against_other_processes(tmp_path):
    code = "import sys, pathlib, saga.runtime.system.state as s; s.lock(pathlib.Path(sys.argv[1]))"
    command = [sys.executable, "-c", f"{code}.__enter__()", str(tmp_path)]
    with system.lock(tmp_path):
        refused = subprocess.run(command, capture_output=True, text=True)
    assert "AlreadyRunning" in refused.stderr
    assert subprocess.run(command).returncode == 0
    assert not system.is_locked(tmp_path), "a dead process holds no lock"


@pytest.mark.parametrize(("states", "ready"), [(["ready"] * 2, True), (["ready", "starting"], 0)])
def test_system_is_ready_when_all_processes_are(states, ready):
    processes = [ProcessInfo(name="x", kind="function", state=state) for state in states]
    assert a_system(*processes).ready == bool(ready)


def test_adapters_port_is_found():
    user = ProcessInfo(name="user-2", kind="adapter", deployed="user", port=8000)
    running = a_system(ProcessInfo(name="user", kind="function", deployed="user"), user)
    assert running.port("user") == 8000
    with pytest.raises(NotRunning, match="no adapter 'order'"):
        running.port("order")


def test_forgotten_system_leaves_no_file(tmp_path):
    system.write(tmp_path, a_system())
    system.forget(tmp_path)
    system.forget(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_leftover_of_a_killed_supervisor_is_ended(tmp_path, child):
    system.write(tmp_path, a_system(ProcessInfo(name="x", kind="function", pid=child.pid)))
    soon = time.time() + 60  # a process's birth is known to the second only
    os.utime(tmp_path / "system.json", (soon, soon))
    system.end_leftovers(tmp_path)
    assert not psutil.pid_exists(child.pid)
    assert not (tmp_path / "system.json").exists()


@pytest.mark.parametrize("kind", ["function", "supervisor"])
def test_process_that_is_not_a_leftover_lives_on(tmp_path, child, kind):
    system.write(tmp_path, a_system(ProcessInfo(name="x", kind=kind, pid=child.pid)))
    if kind == "function":  # the file is older than the process: its number was given anew
        long_ago = time.time() - 3600
        os.utime(tmp_path / "system.json", (long_ago, long_ago))
    system.end_leftovers(tmp_path)
    assert child.poll() is None


@pytest.mark.parametrize("text", ["", "{", "{}", "\xff"])
def test_unreadable_file_names_no_leftovers(tmp_path, text):
    (tmp_path / "system.json").write_text(text, encoding="latin-1")
    system.end_leftovers(tmp_path)
    with system.lock(tmp_path):
        system.write(tmp_path, a_system())
        assert system.read(tmp_path) == a_system()
