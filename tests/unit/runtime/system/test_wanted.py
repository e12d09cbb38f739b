"""What is to run is changed by one at a time, and does not come back once it is forgotten."""

import os
import threading

import pytest

from saga.runtime.errors import NotRunning, SagaError
from saga.runtime.system import wanted
from saga.runtime.system.wanted import (
    Wanted,
    change_wanted,
    forget_wanted,
    read_record,
    read_wanted,
    write_wanted,
)

ONE, OTHER = (Wanted(deployed="a.f", version="1", generation=name) for name in "xy")


def test_some_are_wanted_others_no_longer_and_the_rest_as_before(tmp_path):
    write_wanted(tmp_path, {"a": ONE, "b": ONE})
    change_wanted(tmp_path, {"a": None, "c": OTHER, "gone": None})
    assert read_wanted(tmp_path) == {"b": ONE, "c": OTHER}


def test_nothing_is_wanted_of_no_system(tmp_path):
    for _ in range(2):
        forget_wanted(tmp_path)
    with pytest.raises(NotRunning):
        change_wanted(tmp_path, {"a": ONE})
    assert list(tmp_path.iterdir()) == []


def between_reading_and_writing(monkeypatch, folder, act):
    """Let a thread act while another one changes what is wanted; return when both are done."""
    read, other = wanted.read_wanted, threading.Thread(target=act)

    def read_and_wait(data):
        found = read(data)
        if not other.ident:
            other.start()
            other.join(0.2)  # seconds: for ever, as it waits for us
        return found

    monkeypatch.setattr(wanted, "read_wanted", read_and_wait)
    change_wanted(folder, {"a": ONE})
    other.join()


def test_what_is_forgotten_while_it_is_changed_does_not_come_back(tmp_path, monkeypatch):
    write_wanted(tmp_path, {})
    between_reading_and_writing(monkeypatch, tmp_path, lambda: forget_wanted(tmp_path))
    assert read_record(tmp_path) is None


def test_of_two_changes_at_once_none_is_lost(tmp_path, monkeypatch):
    write_wanted(tmp_path, {})
    change = lambda: change_wanted(tmp_path, {"b": OTHER})  # noqa: E731
    between_reading_and_writing(monkeypatch, tmp_path, change)
    assert read_wanted(tmp_path) == {"a": ONE, "b": OTHER}


@pytest.mark.parametrize("text", ["", "{", '{"x": {}}', "\xff"])
def test_damaged_record_of_what_is_wanted_is_told(tmp_path, text):
    (tmp_path / "wanted.json").write_text(text, encoding="latin-1")
    with pytest.raises(
        SagaError, match=r"wanted\.json is damaged: `saga down` and `saga up` help$"
    ):
        read_wanted(tmp_path)


def test_what_is_wanted_is_on_the_disk_before_it_takes_its_place(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr("os.fsync", lambda number: synced.append(os.fstat(number).st_size))
    write_wanted(tmp_path, {})
    assert synced == [len(read_record(tmp_path))]
