"""Threads begin under coverage even where another one is setting its trace function."""

import sys
import threading

import pytest

from support.traced import PatientSys


def test_thread_begins_though_another_sets_its_trace_function(monkeypatch: pytest.MonkeyPatch):
    asked, ran = [], []

    def settrace(function: object) -> None:
        asked.append(function)
        if len(asked) == 1:
            raise RuntimeError("while another trace function is being installed")

    monkeypatch.setattr(sys, "settrace", settrace)
    monkeypatch.setattr(threading, "_sys", PatientSys())
    hook = threading.gettrace() or (lambda *_: None)
    monkeypatch.setattr(threading, "_trace_hook", hook)
    thread = threading.Thread(target=lambda: ran.append(True))
    thread.start()
    thread.join()
    assert asked == [hook, hook]
    assert ran == [True]
