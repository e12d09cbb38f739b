"""Logs are rotated without losing a line, and are bounded, also those of what runs no more."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saga.runtime.settings import Settings
from saga.runtime.system import rotation
from saga.runtime.system.log_reader import LogReader
from saga.runtime.system.rotation import GONE, moves, open_pipe, remove_gone, to_remove, turn_over
from support.waiting import DEADLINE

Until = Callable[..., Any]

SMALL = Settings(saga_log_bytes=1_000, saga_log_files=3)


@pytest.mark.parametrize(
    ("there", "steps"),
    [
        ([], []),
        ([0], [(0, 1)]),
        ([0, 1], [(1, 2), (0, 1)]),
        ([0, 1, 2], [(2, None), (1, 2), (0, 1)]),
        ([0, 2], [(0, 1)]),  # killed in between: the gap is filled
        ([1, 2], []),
        ([0, 1, 2, 3, 7], [(7, None), (3, None), (2, None), (1, 2), (0, 1)]),  # once it was 8 files
    ],
)
def test_generations_move_up_and_the_oldest_goes(
    there: list[int], steps: list[tuple[int, int | None]]
) -> None:
    assert moves(there, 3) == steps


@given(st.sets(st.integers(0, 12)), st.integers(2, 8))
def test_no_generation_takes_anothers_place(there: set[int], files: int) -> None:
    left = set(there)
    for old, new in moves(there, files):
        left.remove(old)
        assert new not in left
        left |= set() if new is None else {new}
    assert 0 not in left
    assert len(left) < files


def test_of_what_is_gone_the_logs_written_last_stay() -> None:
    written = {f"gone-{number:02}": float(number) for number in range(GONE + 2)}
    assert to_remove({**written, "there": 0.0}, ["there"]) == ["gone-00", "gone-01"]
    assert to_remove(written, written) == []


def test_what_is_gone_loses_all_files_of_its_log_and_nobody_else_any(tmp_path: Path) -> None:
    names = [f"order.f-{number}" for number in range(2, GONE + 2)]
    kept = ["broker", "supervisor", "order", "order.log", *names]
    for age, name in enumerate(["order.f", *kept]):
        for file in (tmp_path / f"{name}.log", tmp_path / f"{name}.log.1"):
            file.touch()
            os.utime(file, (age, age))
    (tmp_path / "order.f.log.new").touch()
    os.utime(tmp_path / "order.f.log.new", (0, 0))
    (tmp_path / "notes.txt").touch()
    remove_gone(tmp_path, ["order", "order.log"])
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"notes.txt", *(f"{name}.log{end}" for name in kept for end in ("", ".1"))}


@pytest.mark.parametrize(
    ("files", "after"),
    [
        ({"": "a", ".1": "b"}, {"": "a", ".1": "b"}),
        ({"": "a", ".1": "b", ".new": "c"}, {"": "c", ".1": "a", ".2": "b"}),
        ({"": "a", ".2": "b", ".new": "c"}, {"": "c", ".1": "a", ".2": "b"}),
        ({".1": "a", ".2": "b", ".new": "c"}, {"": "c", ".1": "a", ".2": "b"}),
        ({"": "a", ".1": "b", ".2": "x", ".new": "c"}, {"": "c", ".1": "a", ".2": "b"}),
    ],
)
def test_what_a_kill_has_broken_off_is_brought_to_its_end(
    tmp_path: Path, files: dict[str, str], after: dict[str, str]
) -> None:
    for end, text in files.items():
        (tmp_path / f"a.log{end}").write_text(text)
    (tmp_path / "a.log.log").touch()  # another one's
    turn_over(tmp_path / "a.log", SMALL)
    (tmp_path / "a.log.log").unlink()
    left = {path.name.removeprefix("a.log"): path.read_text() for path in tmp_path.iterdir()}
    assert left == after


STEP = st.one_of(st.text("ab\n", max_size=5), st.sampled_from(["rotate", "read"]))


@given(st.lists(STEP), st.data())
def test_reader_tells_each_line_once_however_a_log_is_rotated(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], data: st.DataObject
) -> None:
    log = tmp_path_factory.mktemp("log") / "a.log"
    many = Settings(saga_log_files=100)
    reader, read = LogReader(log), list[str]()
    texts = [step for step in steps if step not in ("rotate", "read")]
    for step in steps:
        if step == "read":
            read += reader.lines()
        elif step == "rotate":
            log.with_name("a.log.new").touch()
            turn_over(log, many)
        else:
            with log.open("a") as file:
                file.write(step)
    read += reader.lines()
    assert [*read, reader.unfinished()] == "".join(texts).split("\n")
    reader.close()


def test_who_reads_too_seldom_goes_on_with_what_is_left(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("0\n")
    reader = LogReader(log)
    assert [*reader.lines()] == ["0"]
    for number in range(1, 6):
        log.with_name("a.log.new").write_text(f"{number}\n")
        turn_over(log, SMALL)
    assert [*reader.lines()] == ["3", "4", "5"]
    reader.close()


def test_reader_waits_while_its_file_is_between_two_names(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("0\n")
    log.with_name("a.log.1").write_text("before\n")
    reader = LogReader(log)
    assert [*reader.lines()] == ["before", "0"]
    log.rename(tmp_path / "elsewhere")
    assert [*reader.lines()] == []
    reader.close()


def test_what_a_program_writes_to_its_pipe_is_rotated_and_whole(
    tmp_path: Path, until: Until
) -> None:
    log = tmp_path / "broker.log"
    many = Settings(saga_log_bytes=1_000, saga_log_files=100)
    program = "import sys; [print(i, flush=True) for i in range(2000)]; print('end', end='')"
    with open_pipe(log, many) as output:
        subprocess.run([sys.executable, "-c", program], stdout=output, check=True)
    reader, read = LogReader(log), list[str]()

    def ended() -> bool:
        read.extend(reader.lines())
        return reader.unfinished() == "end"

    until(ended, "all is written")
    assert read == [str(number) for number in range(2000)]
    assert log.with_name("broker.log.1").exists()
    reader.close()


CHATTY = """
import os, pathlib, sys, threading, time
from saga.runtime.settings import Settings
from saga.runtime.system import rotation
rotation.LOOK_EVERY = 0.01
log = pathlib.Path(sys.argv[1])
rotation.write_to(log, Settings(saga_log_bytes=1_000, saga_log_files=100))
number = 0
while not log.with_name(f"{log.name}.20").exists():
    (print if number % 2 else lambda n: os.write(2, b"%d\\n" % n))(number)
    number += 1
    time.sleep(0.0005)
print("end", number)
"""


def test_process_goes_over_to_new_files_with_all_that_it_writes(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    subprocess.run([sys.executable, "-c", CHATTY, log], check=True, timeout=DEADLINE)
    turn_over(log, Settings(saga_log_bytes=1_000, saga_log_files=100))  # as the next start does
    reader = LogReader(log)
    *numbers, end = reader.lines()
    reader.close()
    assert end == f"end {len(numbers)}"
    assert numbers == [str(number) for number in range(len(numbers))]
    full = [log.with_name(f"{log.name}.{number}").stat().st_size for number in range(1, 21)]
    assert min(full) >= 1_000


def test_a_log_that_is_somebody_elses_is_not_rotated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[object] = []
    monkeypatch.setattr(threading.Thread, "start", begun.append)
    (tmp_path / "supervisor.log").touch()
    rotation.rotate_own(tmp_path / "supervisor.log", SMALL)
    rotation.rotate_own(tmp_path / "no.log", SMALL)
    assert begun == []
