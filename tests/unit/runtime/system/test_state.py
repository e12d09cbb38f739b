"""What a system tells about itself, and who may hold its data directory."""

import fcntl
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from saga.runtime.data_directory import MARKER, NotOurs, claim
from saga.runtime.errors import NotRunning
from saga.runtime.system import state
from saga.runtime.system.state import (
    AlreadyRunning,
    ProcessInfo,
    System,
    end_leftovers,
    forget_system,
    is_locked,
    lock_system,
    read_system,
    write_system,
)

SLEEPER = [sys.executable, "-c", "input()"]


def a_system(*processes):
    return System(broker="127.0.0.1:9092", stacks=Path("/stacks"), processes=list(processes))


@pytest.fixture
def child():
    process = subprocess.Popen(SLEEPER, stdin=subprocess.PIPE)
    with process:
        yield process
        process.kill()


def test_running_system_is_read(tmp_path):
    written = a_system(ProcessInfo(name="user", kind="adapter", pid=1, port=8000))
    with lock_system(tmp_path):
        write_system(tmp_path, written)
        assert read_system(tmp_path) == written


def test_system_file_is_replaced_whole(tmp_path):
    with lock_system(tmp_path):
        write_system(tmp_path, a_system(*[ProcessInfo(name="x" * 99, kind="function")] * 99))
        write_system(tmp_path, a_system())
        assert read_system(tmp_path) == a_system()
    assert sorted(path.name for path in tmp_path.iterdir()) == [MARKER, "lock", "system.json"]


def test_stale_file_is_no_running_system(tmp_path):
    write_system(tmp_path, a_system())
    with pytest.raises(NotRunning, match="no system runs on"):
        read_system(tmp_path)


def test_empty_directory_has_no_running_system(tmp_path):
    with pytest.raises(NotRunning, match="saga up"):
        read_system(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_lock_is_held_by_one(tmp_path):
    second = lock_system(tmp_path)
    with lock_system(tmp_path), pytest.raises(AlreadyRunning, match="saga down"):
        second.__enter__()


def test_a_folder_of_the_users_is_not_locked_and_left_as_it_is(tmp_path):
    (tmp_path / "code").mkdir()
    with pytest.raises(NotOurs), lock_system(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["code"]


def test_lock_is_free_again_after_its_block(tmp_path):
    with lock_system(tmp_path):
        assert is_locked(tmp_path)
    assert not is_locked(tmp_path)
    with lock_system(tmp_path):
        pass


def test_lock_is_held_against_other_processes(tmp_path):
    code = "import pathlib; from saga.runtime.system.state import lock_system"
    code += f"; lock_system(pathlib.Path({str(tmp_path)!r})).__enter__()"
    command = [sys.executable, "-c", code]
    with lock_system(tmp_path):
        refused = subprocess.run(command, capture_output=True, text=True)
    assert "AlreadyRunning" in refused.stderr
    assert subprocess.run(command).returncode == 0
    assert not is_locked(tmp_path), "a dead process holds no lock"


@pytest.fixture
def look(tmp_path):
    """Somebody looks whether the directory is locked, for longer than it ever takes."""
    claim(tmp_path)
    with (tmp_path / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield lambda: fcntl.flock(file, fcntl.LOCK_UN)


def test_a_look_keeps_nobody_from_holding_the_lock(tmp_path, monkeypatch, look):
    monkeypatch.setattr(state, "HOLD_TIMEOUT", 10)
    timer = threading.Timer(0.05, look)
    timer.start()
    with lock_system(tmp_path):
        timer.join()


@pytest.mark.usefixtures("look")
def test_a_look_is_not_taken_for_a_supervisor(tmp_path):
    assert not is_locked(tmp_path)


def test_who_may_only_read_may_look(tmp_path):
    with lock_system(tmp_path):
        (tmp_path / "lock").chmod(0o444)
        assert is_locked(tmp_path)


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
    write_system(tmp_path, a_system())
    forget_system(tmp_path)
    forget_system(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_leftover_of_a_killed_supervisor_is_ended(tmp_path, child):
    write_system(tmp_path, a_system(ProcessInfo(name="x", kind="function", pid=child.pid)))
    soon = time.time() + 60  # a process's birth is known to the second only
    os.utime(tmp_path / "system.json", (soon, soon))
    end_leftovers(tmp_path)
    assert not psutil.pid_exists(child.pid)
    assert not (tmp_path / "system.json").exists()


@pytest.mark.parametrize("kind", ["function", "supervisor"])
def test_process_that_is_not_a_leftover_lives_on(tmp_path, child, kind):
    write_system(tmp_path, a_system(ProcessInfo(name="x", kind=kind, pid=child.pid)))
    if kind == "function":  # the file is older than the process: its number was given anew
        long_ago = time.time() - 3600
        os.utime(tmp_path / "system.json", (long_ago, long_ago))
    end_leftovers(tmp_path)
    assert child.poll() is None


@pytest.mark.parametrize("text", ["", "{", "{}", "\xff"])
def test_unreadable_file_names_no_leftovers(tmp_path, text):
    claim(tmp_path)
    (tmp_path / "system.json").write_text(text, encoding="latin-1")
    end_leftovers(tmp_path)
    with lock_system(tmp_path):
        write_system(tmp_path, a_system())
        assert read_system(tmp_path) == a_system()
