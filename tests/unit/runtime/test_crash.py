"""Crash points: a process dies at one that is armed, once, and only with something in hand."""

import os
import signal

import pytest

from saga.runtime.crash import DISARMED, KILLED, CrashPoints


@pytest.fixture
def kills(monkeypatch):
    """The signals that this process would have sent itself."""
    sent = []

    def kill(pid, number):
        assert pid == os.getpid()
        sent.append(number)

    monkeypatch.setattr("saga.runtime.crash.os.kill", kill)
    return sent


@pytest.fixture
def points(tmp_path):
    return CrashPoints("bakery.bake", tmp_path)


def test_a_process_dies_once_at_a_point_that_is_armed(points, kills, tmp_path):
    (tmp_path / "bakery.bake@after_send").touch()
    points.reach("after_send", ["a record"])
    points.reach("after_send", ["a record"])
    assert kills == [signal.SIGKILL]
    assert [path.name for path in tmp_path.iterdir()] == [f"bakery.bake@after_send{KILLED}"]


def test_nobody_dies_with_nothing_in_hand(points, kills, tmp_path):
    armed = tmp_path / "bakery.bake@after_send"
    armed.touch()
    points.reach("after_send", [])
    assert kills == []
    assert armed.exists()


def test_what_is_in_hand_is_asked_only_where_a_point_is_armed(points, kills, tmp_path):
    points.reach("after_send", lambda: pytest.fail("asked in vain"))
    (tmp_path / "bakery.bake@after_send").touch()
    points.reach("after_send", list)
    assert kills == []
    points.reach("after_send", lambda: ["a record"])
    assert kills == [signal.SIGKILL]


def test_another_point_and_another_function_stay_armed(points, kills, tmp_path):
    others = {tmp_path / "bakery.bake@after_commit", tmp_path / "bakery.eat@after_send"}
    for armed in others:
        armed.touch()
    points.reach("after_send", ["a record"])
    assert kills == []
    assert set(tmp_path.iterdir()) == others


def test_of_two_replicas_one_dies(points, kills, tmp_path, monkeypatch):
    (tmp_path / "bakery.bake@after_send").touch()

    class TakenMeanwhile:
        def __len__(self):
            (tmp_path / "bakery.bake@after_send").unlink()
            return 1

    points.reach("after_send", TakenMeanwhile())
    assert kills == []


def test_what_is_in_hand_is_not_looked_at_where_nothing_is_armed(points, kills):
    class Untouched:
        def __len__(self):
            raise AssertionError

    points.reach("after_send", Untouched())
    DISARMED.reach("after_send", Untouched())
    assert kills == []
