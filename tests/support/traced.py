"""Threads that coverage traces: on Python 3.11, one may die as it begins.

A trace function can't be set while another thread sets one (CPython's issue 98257, and since 3.12
coverage sets none). Then the thread ends before it has run anything.
"""

import sys
import threading
import time
from typing import Any


class PatientSys:
    """The module `sys`, but that a trace function is set again where another thread sets one."""

    def __getattr__(self, name: str) -> Any:
        return getattr(sys, name)

    def settrace(self, function: Any) -> None:
        """Set it for this thread."""
        while True:
            try:
                return sys.settrace(function)
            except RuntimeError:
                time.sleep(0)  # so that the other one can go on


def begin_patiently() -> None:
    """Let all threads begin so from now on, if they are traced."""
    if threading.gettrace() is not None:
        threading._sys = PatientSys()  # type: ignore[attr-defined]
