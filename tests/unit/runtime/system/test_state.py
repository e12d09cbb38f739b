"""What a system tells about itself, and who may hold its data directory."""

import fcntl
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from saga.runtime.data_directory import MARKER, NotOurs, claim
from saga.runtime.errors import NotRunning, SagaError
from saga.runtime.settings import Settings
from saga.runtime.system import state
from saga.runtime.system.process import ProcessInfo
from saga.runtime.system.state import (
    AlreadyRunning,
    System,
    end_leftovers,
    forget_system,
    has_leftovers,
    identity,
    is_locked,
    lock_system,
    read_system,
    with_its_stacks,
    write_system,
)
from support.waiting import DEADLINE

SLEEPER = [sys.executable, "-c", "input()"]


def a_system(*processes, folder=(0, 0)):
    broker, stacks = "127.0.0.1:9092", Path("/stacks")
    return System(folder=folder, broker=broker, stacks=stacks, processes=list(processes))


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


def test_who_looks_at_a_system_takes_the_stacks_that_it_was_started_with(tmp_path, monkeypatch):
    """And not those of the folder that it looks from; but what `SAGA_STACKS` says goes first."""
    data, here = tmp_path / "data", tmp_path / "stacks"
    here.mkdir()
    (here / "shop.toml").touch()
    monkeypatch.chdir(tmp_path)
    settings = Settings(saga_data=data)
    assert with_its_stacks(settings).saga_stacks == Path("stacks")  # none runs
    with lock_system(data):
        write_system(data, a_system())
        assert with_its_stacks(settings).saga_stacks == Path("/stacks")
        monkeypatch.setenv("SAGA_STACKS", "named")
        assert with_its_stacks(Settings(saga_data=data)).saga_stacks == Path("named")


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


@pytest.mark.parametrize("how", ["removed", "replaced", "gone with all the rest"])
def test_hold_is_lost_with_its_file(tmp_path, how):
    with lock_system(tmp_path / "data") as hold:
        assert not hold.lost
        if how == "gone with all the rest":
            shutil.rmtree(tmp_path / "data")
        elif how == "removed":
            (tmp_path / "data" / "lock").unlink()
        else:
            (tmp_path / "data" / "other").touch()
            (tmp_path / "data" / "other").rename(tmp_path / "data" / "lock")
        assert hold.lost
        assert not is_locked(tmp_path / "data")


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_database_that_was_there_is_missed(tmp_path, how):
    order, user = tmp_path / "order.db", tmp_path / "user.db"
    with lock_system(tmp_path) as hold:
        hold.check([order, user])
        order.touch()
        hold.check([order, user])
        if how == "replaced":
            (tmp_path / "other").touch()
            (tmp_path / "other").rename(order)
        else:
            order.unlink()
        with pytest.raises(SagaError, match=r"order\.db was removed under .* put a copy back"):
            hold.check([order, user])


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


def info(child, kind="function", later=0.0):
    """Describe a child as what was born `later` seconds after it."""
    found = ProcessInfo(name="x", kind=kind)
    found.runs_as(child.pid)
    return found.model_copy(update={"born": found.born + later})


def leave_behind(folder, *processes):
    """Leave a folder as a killed supervisor does."""
    claim(folder)
    write_system(folder, a_system(*processes, folder=identity(folder)))


def test_leftover_of_a_killed_supervisor_is_ended(tmp_path, child):
    leave_behind(tmp_path, info(child))
    assert has_leftovers(tmp_path)
    assert end_leftovers(tmp_path) == ["x"]
    assert end_leftovers(tmp_path) == []
    assert child.wait(DEADLINE) == -signal.SIGTERM
    assert not has_leftovers(tmp_path)


@pytest.mark.parametrize(("kind", "later"), [("supervisor", 0.0), ("function", -60.0)])
def test_process_that_is_not_a_leftover_lives_on(tmp_path, child, kind, later):
    """A killed supervisor's number may be another's by now, as each number may."""
    leave_behind(tmp_path, info(child, kind, later))
    end_leftovers(tmp_path)
    assert child.poll() is None


def test_what_runs_on_the_original_of_a_copy_lives_on(tmp_path, child):
    leave_behind(tmp_path / "original", info(child))
    shutil.copytree(tmp_path / "original", tmp_path / "copy")
    end_leftovers(tmp_path / "copy")
    assert child.poll() is None
    (tmp_path / "original").rename(tmp_path / "moved")
    end_leftovers(tmp_path / "moved")
    assert child.wait(DEADLINE) == -signal.SIGTERM


def test_running_system_is_no_leftover(tmp_path):
    with lock_system(tmp_path):
        write_system(tmp_path, a_system())
        assert not has_leftovers(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "{}", "\xff"])
def test_unreadable_file_names_no_leftovers(tmp_path, text):
    claim(tmp_path)
    (tmp_path / "system.json").write_text(text, encoding="latin-1")
    with pytest.raises(NotRunning, match="no system runs on"):
        read_system(tmp_path)
    end_leftovers(tmp_path)
    with lock_system(tmp_path):
        write_system(tmp_path, a_system())
        assert read_system(tmp_path) == a_system()


OPENS = """
import sqlite3, sys
opened = sqlite3.connect(sys.argv[1])
opened.execute("PRAGMA journal_mode = wal")
opened.execute("CREATE TABLE IF NOT EXISTS t (x)")
opened.execute("INSERT INTO t VALUES (1)")
opened.commit()
print("written", flush=True)
input()
opened.close()
"""


@contextmanager
def writer(file):
    """Have a row written by a process that has the database open."""
    command = [sys.executable, "-c", OPENS, str(file)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout.readline() == "written\n"
        yield
        process.communicate("\n", timeout=DEADLINE)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process has open")
def test_write_ahead_log_that_is_removed_under_a_process_is_noticed(tmp_path):
    file, wal = tmp_path / "gift.db", tmp_path / "gift.db-wal"
    with lock_system(tmp_path) as hold:
        for _ in range(2):  # it is SQLite's to remove, with its last connection
            with writer(file):
                hold.check([file])
            assert not wal.exists()
            hold.check([file])
        with writer(file):
            hold.check([file])
            wal.unlink()
            with pytest.raises(SagaError, match=r"gift\.db-wal was removed under the running sys"):
                hold.check([file])
    with closing(sqlite3.connect(file)) as database:
        assert database.execute("SELECT count(*) FROM t").fetchone() == (3,)
