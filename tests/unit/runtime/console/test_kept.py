"""One asks for all who want an answer, and nobody waits longer than he wants to."""

import threading
import time
from collections.abc import Iterator

import pytest

from saga.runtime.console import kept as module
from saga.runtime.console.kept import STALE, Kept
from support.waiting import DEADLINE, wait_until


class Clock:
    """A monotonic clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0
        self.sleep = time.sleep

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


class Answers:
    """Answers 1, 2, 3; while it is closed, nothing."""

    def __init__(self) -> None:
        self.asked = 0
        self.open = threading.Event()
        self.open.set()

    def __call__(self) -> int:
        self.asked += 1
        self.open.wait(DEADLINE)
        return self.asked


@pytest.fixture
def answers() -> Iterator[Answers]:
    answers = Answers()
    yield answers
    answers.open.set()
    wait_until(lambda: not any(t.name == "kept" for t in threading.enumerate()), "threads end")


def test_all_who_ask_soon_get_one_answer(clock: Clock, answers: Answers) -> None:
    kept = Kept(answers, 2.0)
    assert [kept.get(clock.now + DEADLINE) for _ in range(3)] == [1, 1, 1]
    clock.now += 2.0
    assert kept.get(clock.now + DEADLINE) == 2
    assert answers.asked == 2


def test_nobody_waits_for_an_answer_that_does_not_come(clock: Clock, answers: Answers) -> None:
    answers.open.clear()
    kept = Kept(answers, 2.0)
    assert kept.get(clock.now) is None
    assert kept.get(clock.now) is None
    assert answers.asked == 1


def test_the_answer_before_is_good_until_it_is_stale(clock: Clock, answers: Answers) -> None:
    kept = Kept(answers, 2.0)
    kept.get(clock.now + DEADLINE)
    answers.open.clear()
    clock.now += 2.0 + STALE - 0.1
    assert kept.get(clock.now) == 1
    clock.now += 0.1
    assert kept.get(clock.now) is None


def test_closing_waits_for_what_is_asked_for(clock: Clock, answers: Answers) -> None:
    kept: Kept[int] = Kept(answers, 2.0)
    kept.close()
    answers.open.clear()
    kept.get(clock.now)
    threading.Timer(0.01, answers.open.set).start()
    kept.close()
    assert answers.open.is_set()
    assert kept.get(clock.now) == 1


def test_what_nobody_meant_is_logged_once_and_is_no_answer(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    answers = [1, None, None, 2, None]

    def ask() -> int:
        answer = answers.pop(0)
        if answer is None:
            raise KeyError("odd")
        return answer

    kept = Kept(ask, 2.0)
    got = []
    for _ in range(5):
        got.append(kept.get(clock.now + DEADLINE))
        clock.now += 2.0
    assert got == [1, None, None, 2, None]
    assert len(caplog.records) == 2
