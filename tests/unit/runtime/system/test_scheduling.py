"""When processes are batch work: decided in tables, and told to the kernel of real ones."""

import logging
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from saga.runtime.system import scheduling as module
from saga.runtime.system.scheduling import Own, Scheduling, Used, is_busy, is_ours

CORES = 4

# Has two threads, and waits to be told to end.
WAITS = """
import os, sys, threading
stop = threading.Event()
threading.Thread(target=stop.wait).start()
{more}
print(len(os.listdir("/proc/self/task")), flush=True)
sys.stdin.read()
stop.set()
"""

Run = Callable[..., int]


class Load:
    """What the machine seems to be used for, second by second."""

    def __init__(self) -> None:
        self.could = self.machine = 0.0
        self.ours: dict[int, Own] = {}
        self.asked = 0  # how often we were asked what processes use

    def second(self, pids: list[int], *, ours: float, others: float) -> None:
        """Let a second pass in which so many cores are used by each of ours, and by others."""
        self.could += CORES
        self.machine += ours * len(pids) + others
        before = {pid: self.ours.get(pid, Own(0.0, 0.0, 0)) for pid in pids}
        self.ours = {
            pid: Own(was.used + ours, was.main + ours, was.waits + 1000)
            for pid, was in before.items()
        }

    def each(self, _: object) -> dict[int, Own]:
        self.asked += 1
        return dict(self.ours)


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    load = Load()
    monkeypatch.setattr(module, "_could", lambda: load.could)
    monkeypatch.setattr(module, "_machine", lambda: load.machine)
    monkeypatch.setattr(module, "_each", load.each)
    return load


@pytest.fixture
def run() -> Iterator[Run]:
    """Start processes of two threads; return their numbers."""
    started: list[subprocess.Popen[str]] = []

    def start(more: str = "") -> int:
        code = [sys.executable, "-c", WAITS.format(more=more)]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(code, stdin=pipe, stdout=pipe, text=True))
        assert started[-1].stdout is not None
        assert started[-1].stdout.readline() == "2\n"
        return started[-1].pid

    yield start
    for process in started:
        process.communicate("")


def policies(pid: int) -> set[int]:
    """Return how the threads of a process are scheduled."""
    return {os.sched_getscheduler(int(thread)) for thread in os.listdir(f"/proc/{pid}/task")}


def make_batch_work(scheduling: Scheduling, load: Load, pids: list[int]) -> None:
    for _ in range(2):
        load.second(pids, ours=3.0 / len(pids), others=0.1)
        scheduling.look(pids)


@pytest.mark.parametrize(
    ("used", "busy"),
    [(0.0, False), (0.99, False), (1.0, True), (4.0, True)],
)
def test_machine_is_busy_with_a_quarter_of_its_cores_in_use(used: float, busy: bool) -> None:
    before = Used(could=40.0, machine=7.0, ours={})
    assert is_busy(before, Used(could=44.0, machine=7.0 + used, ours={})) is busy


A, B = Own(5.0, 4.0, 700), Own(1.0, 1.0, 80)
LATER_A, LATER_B = Own(6.0, 4.9, 1700), Own(2.0, 1.9, 1080)
LATE = Own(90.0, 90.0, 9)


@pytest.mark.parametrize(
    ("before", "now", "used", "ours"),
    [
        ({1: A, 2: B}, {1: LATER_A, 2: LATER_B}, 2.9, True),
        ({1: A, 2: B}, {1: LATER_A, 2: LATER_B}, 3.0, False),  # twice as much is not more
        ({1: A, 2: B}, {1: LATER_A, 2: LATER_B}, 4.0, False),
        ({1: A}, {1: LATER_A, 2: LATE}, 1.4, True),  # one that came meanwhile says nothing
        ({1: A, 2: LATE}, {1: LATER_A}, 1.4, True),  # nor one that has ended
        ({1: A}, {1: LATER_A, 2: LATE}, 1.6, False),
        ({}, {1: LATER_A}, 1.0, False),
        ({1: A}, {}, 1.0, False),
    ],
)
def test_load_is_ours_where_we_use_more_than_twice_what_others_do(
    before: dict[int, Own], now: dict[int, Own], used: float, ours: bool
) -> None:
    assert is_ours(Used(0.0, 10.0, before), Used(4.0, 10.0 + used, now)) is ours


@pytest.mark.parametrize(
    ("main", "waits", "ours"),
    [
        (1.0, 50, True),  # a fiftieth of a second between two waits
        (1.0, 48, False),
        (1.0, 0, False),
        (0.02, 0, True),  # not for long
        (0.0, 0, True),  # its other threads do the work, as the broker's
    ],
)
def test_process_that_computes_for_long_counts_as_another(
    main: float, waits: int, ours: bool
) -> None:
    now = Own(A.used + 1.0, A.main + main, A.waits + waits)
    assert is_ours(Used(0.0, 10.0, {1: A}), Used(4.0, 11.1, {1: now})) is ours


def test_processes_are_batch_work_while_the_load_is_theirs(load: Load, run: Run) -> None:
    scheduling, pids = Scheduling(wanted=True), [run(), run()]
    seen = []
    for ours, others in ((1.5, 0.1), (1.5, 0.1), (0.8, 2.4), (1.5, 0.1), (0.01, 0.0)):
        load.second(pids, ours=ours, others=others)
        scheduling.look(pids)
        seen.append([policies(pid) for pid in pids])
    usual, batch = [{os.SCHED_OTHER}] * 2, [{os.SCHED_BATCH}] * 2
    assert seen == [usual, batch, usual, batch, usual]


def test_nobody_asks_what_processes_use_while_little_goes_on(load: Load) -> None:
    scheduling = Scheduling(wanted=True)
    for _ in range(5):
        load.second([1], ours=0.1, others=0.1)
        scheduling.look([1])
    assert load.asked == 0


def test_what_is_started_under_load_becomes_batch_work_too(load: Load, run: Run) -> None:
    scheduling, first = Scheduling(wanted=True), run()
    make_batch_work(scheduling, load, [first])
    second = run()
    load.second([first], ours=3.0, others=0.1)
    scheduling.look([first, second])
    assert policies(second) == {os.SCHED_BATCH}


def test_thread_that_is_neither_usual_nor_batch_work_is_left_alone(load: Load, run: Run) -> None:
    pid = run("os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))")
    scheduling = Scheduling(wanted=True)
    make_batch_work(scheduling, load, [pid])
    assert policies(pid) == {os.SCHED_IDLE, os.SCHED_BATCH}
    load.second([pid], ours=1.0, others=3.0)
    scheduling.look([pid])
    assert policies(pid) == {os.SCHED_IDLE, os.SCHED_OTHER}


def test_process_that_has_ended_is_passed_over(load: Load, run: Run) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    pids = [ended.pid, run()]
    make_batch_work(Scheduling(wanted=True), load, pids)
    assert policies(pids[1]) == {os.SCHED_BATCH}


def test_thread_that_has_ended_meanwhile_is_passed_over(
    load: Load, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, pid = threading.Thread(target=int), run()
    ended.start()
    ended.join()
    assert ended.native_id is not None
    listed, gone = os.listdir, str(ended.native_id)
    monkeypatch.setattr(os, "listdir", lambda path: [gone, *listed(path)])
    make_batch_work(Scheduling(wanted=True), load, [pid])
    monkeypatch.undo()
    assert policies(pid) == {os.SCHED_BATCH}


def test_where_it_is_forbidden_it_is_tried_once_and_told_once(
    load: Load, run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried = []

    def refuse(thread: int, *_: object) -> None:
        tried.append(thread)
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    scheduling, pid = Scheduling(wanted=True), run()
    with caplog.at_level(logging.INFO):
        make_batch_work(scheduling, load, [pid])
        make_batch_work(scheduling, load, [pid])
    assert len(tried) == 1
    assert [one.getMessage() for one in caplog.records] == [
        "processes are scheduled as usual: [Errno 1] Operation not permitted"
    ]


def test_nothing_is_done_where_it_is_not_wanted(load: Load, run: Run) -> None:
    pid = run()
    make_batch_work(Scheduling(wanted=False), load, [pid])
    assert policies(pid) == {os.SCHED_OTHER}


def test_who_was_started_as_batch_work_stays_so(
    load: Load, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`chrt --batch 0 saga up`: its processes have inherited it, and nobody ends it."""
    policy = "os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))"
    pid = run(policy)
    scheduler = os.sched_getscheduler
    monkeypatch.setattr(os, "sched_getscheduler", lambda _: os.SCHED_BATCH)
    scheduling = Scheduling(wanted=True)
    monkeypatch.setattr(os, "sched_getscheduler", scheduler)
    make_batch_work(scheduling, load, [pid])
    load.second([pid], ours=1.0, others=3.0)
    scheduling.look([pid])
    assert policies(pid) == {os.SCHED_OTHER, os.SCHED_BATCH}  # as it was


def test_system_that_knows_no_batch_work_is_left_alone(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "SCHED_BATCH")
    make_batch_work(Scheduling(wanted=True), load, [os.getpid()])


def test_what_is_used_is_read_from_the_machine() -> None:
    own = os.getpid()
    before = Used(module._could(), module._machine(), module._each([own, 2**22 + 1]))
    assert before.ours.keys() == {own}
    began, used = time.monotonic(), time.process_time()
    while time.process_time() - used < 0.1:
        pass
    now = Used(module._could(), module._machine(), module._each([own]))
    # The kernel counts in hundredths of a second.
    at_most = time.process_time() - used + 0.02
    assert 0.08 <= now.ours[own].used - before.ours[own].used <= at_most
    assert 0.08 <= now.ours[own].main - before.ours[own].main <= at_most
    select.select([], [], [], 0.001)
    assert module._each([own])[own].waits > now.ours[own].waits
    assert now.machine - before.machine >= 0.05
    cores = os.cpu_count() or 1
    assert 0.1 * cores <= now.could - before.could <= (time.monotonic() - began + 1) * cores
