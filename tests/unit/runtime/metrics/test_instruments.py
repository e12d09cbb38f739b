"""What processes count in files is there after them, and adds up."""

import re
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from saga.runtime.metrics import instruments as module
from saga.runtime.metrics.catalogue import COMMANDS, DEADLINE, HANDLED
from saga.runtime.metrics.instruments import ROOM, Counted, Instruments
from support.waiting import wait_until

# For each folder, a process counts one command there, says so, and is killed when asked for. Each
# is forked: a new Python would take most of the time.
COUNTS = """
import os, signal, sys
from pathlib import Path
from saga.runtime.metrics.catalogue import COMMANDS, DEADLINE, HANDLED
from saga.runtime.metrics import instruments as module
from saga.runtime.metrics.instruments import count_in, of_this_process

module.WRITTEN_EVERY = 0.01
for folder in iter(sys.stdin.readline, ""):
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        count_in(Path(folder.strip()))
        instruments = of_this_process()
        instruments.series(COMMANDS, "bakery.bake", "done").inc(1)
        handled = instruments.series(HANDLED, "kafka", "process", "bakery.bake", "bakery.bake", "")
        handled.observe(0.002)
        instruments.series(DEADLINE, "feast").set(300)
        os.write(theirs, b"counted")
        signal.pause()
    os.close(theirs)
    print(os.read(ours, 7).decode(), flush=True)
    os.close(ours)
    sys.stdin.readline()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    print("killed", flush=True)
"""
# Counts one command, and ends.
ENDS = """
import sys
from pathlib import Path
from saga.runtime.metrics.catalogue import COMMANDS
from saga.runtime.metrics.instruments import count_in, of_this_process

count_in(Path(sys.argv[1]))
of_this_process().series(COMMANDS, "bakery.bake", "done").inc(1)
"""
DONE = b'saga_commands_total{function="bakery.bake",outcome="done"} '


@pytest.fixture(scope="module")
def counting():
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", COUNTS]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, bufsize=1) as process:
        yield process


@pytest.fixture
def count_and_be_killed(counting, scrape, tmp_path):
    """Let a process count, and be killed once that is written."""

    def run(name):
        before = done_in(scrape())
        counting.stdin.write(f"{tmp_path / 'counts' / name}\n")
        assert counting.stdout.readline() == "counted\n"
        wait_until(lambda: done_in(scrape()) == before + 1, "what was counted is written")
        counting.stdin.write("kill\n")
        assert counting.stdout.readline() == "killed\n"

    return run


@pytest.fixture
def scrape(tmp_path):
    registry = CollectorRegistry()
    registry.register(Counted(tmp_path / "counts"))
    return lambda: generate_latest(registry)


def done_in(text):
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(DONE))


def test_counts_are_written_when_their_process_ends(tmp_path, scrape):
    subprocess.run([sys.executable, "-c", ENDS, str(tmp_path / "counts" / "bake")], check=True)
    assert done_in(scrape()) == 1


def test_counts_outlive_a_kill_and_go_on(count_and_be_killed, scrape):
    count_and_be_killed("bakery.bake")
    assert DONE + b"1.0" in scrape()
    count_and_be_killed("bakery.bake")
    assert DONE + b"2.0" in scrape()


def test_counts_of_all_processes_are_added_up(count_and_be_killed, scrape):
    count_and_be_killed("bakery.bake")
    count_and_be_killed("bakery.bake-2")
    text = scrape()
    assert DONE + b"2.0" in text
    assert b'error_type=""' in text
    assert b'le="0.005"' in text
    assert b'saga_deadline_seconds{saga="feast"} 300.0' in text


def test_restarts_leave_no_more_files(count_and_be_killed, tmp_path):
    count_and_be_killed("bakery.bake")
    files = sorted((tmp_path / "counts").iterdir())
    count_and_be_killed("bakery.bake")
    assert sorted((tmp_path / "counts").iterdir()) == files


def one_entry(key):
    """Write an entry as prometheus_client does, whatever its key is."""
    entry = struct.pack("i", len(key)) + key + b" " * (8 - (len(key) + 4) % 8)
    return struct.pack("ii", 24 + len(entry), 0) + entry + struct.pack("dd", 1.0, 0.0)


DAMAGES = [b"", b"\x00", b"\xff" * 100, b"\x80\x00\x00\x00" * 99]
DAMAGES += map(one_entry, [b"", b"5", b"null", b"[1, 2, 3, 4]", b'["a", "b", {"c": []}, "d"]'])


@pytest.mark.parametrize("damage", [*DAMAGES, struct.pack("i", 13) + bytes(996)])
def test_damaged_file_ends_nobody_and_begins_anew(count_and_be_killed, scrape, tmp_path, damage):
    count_and_be_killed("bakery.bake")
    for file in (tmp_path / "counts").iterdir():
        file.write_bytes(damage)
    count_and_be_killed("bakery.bake")
    assert DONE + b"1.0" in scrape()


def test_room_for_counts_is_taken_at_once(count_and_be_killed, tmp_path):
    """Or else a disk that is full later would end who counts."""
    count_and_be_killed("bakery.bake")
    for file in (tmp_path / "counts").iterdir():
        assert file.stat().st_size == ROOM
        assert file.stat().st_blocks * 512 >= ROOM
    count_and_be_killed("bakery.bake")
    assert {file.stat().st_size for file in (tmp_path / "counts").iterdir()} == {ROOM}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_file_takes_no_other_along(count_and_be_killed, scrape, tmp_path, damage):
    count_and_be_killed("bakery.bake")
    (tmp_path / "counts" / "counter_user.pay.db").write_bytes(damage)
    assert DONE + b"1.0" in scrape()


def test_nothing_was_counted_where_there_is_no_folder(scrape):
    assert scrape() == b""


def test_no_series_tells_when_another_was_made():
    instruments = Instruments(CollectorRegistry())
    instruments.series(COMMANDS, "bakery.bake", "done").inc(1)
    assert b"_created" not in generate_latest(instruments.registry)


def test_what_is_counted_while_it_is_written_is_all_there():
    instruments = Instruments(CollectorRegistry())
    done = instruments.series(COMMANDS, "bakery.bake", "done")
    took = instruments.series(HANDLED, "kafka", "process", "bakery.bake", "bakery.bake", "")

    def count():
        for _ in range(2_000):
            done.inc(1)
            took.observe(0.5)

    def write():
        for _ in range(200):
            instruments.write()

    with ThreadPoolExecutor(6) as pool:
        for asked in [pool.submit(one) for one in (count, write) * 3]:
            asked.result()
    text = generate_latest(instruments.registry)
    assert DONE + b"6000.0" in text
    assert re.search(rf"(?m)^{HANDLED.name}_sum{{.*}} 3000.0$", text.decode())


def test_what_is_written_goes_on_after_an_error(monkeypatch, caplog):
    class Over(BaseException):
        pass

    outcomes = [None, OSError("no room"), None, Over()]

    def write():
        if (outcome := outcomes.pop(0)) is not None:
            raise outcome

    monkeypatch.setattr("time.sleep", lambda _: None)
    with pytest.raises(Over):
        module._write_on(write)
    assert [record.message for record in caplog.records] == ["what was counted last is not written"]


def test_series_is_made_once():
    instruments = Instruments(CollectorRegistry())
    first = instruments.series(COMMANDS, "bakery.bake", "done")
    assert instruments.series(COMMANDS, "bakery.bake", "done") is first
    assert instruments.series(COMMANDS, "bakery.bake", "dead") is not first
    assert instruments.series(DEADLINE, "feast") is not instruments.series(DEADLINE, "fast")
    assert instruments.series(HANDLED, *"abcde") is not first
