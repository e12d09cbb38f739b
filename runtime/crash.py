"""Crash points: places where a process kills itself, for tests that prove what a crash does.

`SAGA_CRASH_POINTS` names a folder: a file in it called `FUNCTION@POINT` makes that function's
process add `.killed` to the file's name and die there, once, as if by `kill -9`. It does so only
with something in hand: a crash between two pieces of work would prove nothing.
"""

import os
import signal
from collections.abc import Callable, Sized
from pathlib import Path

BEFORE_HANDLER = "before_handler"  # the batch is read, nothing is done
IN_HANDLER = "in_handler"  # the handler has written, nothing is committed
BEFORE_COMMIT = "before_commit"  # the answers are stored too, nothing is committed
AFTER_COMMIT = "after_commit"  # all is committed, nothing is sent
AFTER_SEND = "after_send"  # all is on its way, no offset is committed
AFTER_TAKEN = "after_taken"  # the broker has all, no offset is committed
AFTER_OFFSETS = "after_offsets"  # the offsets are on their way, too
BEFORE_SWEEP = "before_sweep"  # sagas are due, a saga's host has read none of them
IN_SWEEP = "in_sweep"  # the sagas that are due have changed, nothing is committed
AFTER_SWEEP = "after_sweep"  # all is committed, nothing is sent
AFTER_SWEEP_SENT = "after_sweep_sent"  # the broker has all, that is not noted
AFTER_ROW = "after_row"  # an adapter has stored a saga and sent nothing

InHand = Sized | Callable[[], Sized]  # a call is made only where a point is armed
KILLED = ".killed"  # what is added to the name of a file that has killed a process


class CrashPoints:
    """The crash points of one function or adapter."""

    def __init__(self, name: str, folder: Path | None) -> None:
        self._name = name
        self._folder = folder

    def reach(self, point: str, in_hand: InHand) -> None:
        """Die here if this point is armed and something is in hand."""
        if self._folder is None:
            return
        armed = self._folder / f"{self._name}@{point}"
        try:
            if not armed.exists() or not (in_hand() if callable(in_hand) else in_hand):
                return
            armed.rename(armed.with_name(f"{armed.name}{KILLED}"))
        except FileNotFoundError:  # a replica was first
            return
        os.kill(os.getpid(), signal.SIGKILL)


DISARMED = CrashPoints("", None)
