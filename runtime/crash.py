"""Crash points: places where a process kills itself, for tests that prove what a crash does.

`SAGA_CRASH_POINTS` names a folder: a file in it called `FUNCTION@POINT` makes that function's
process remove the file and die there, once, as if by `kill -9`.
"""

import os
import signal
from pathlib import Path

BEFORE_HANDLER = "before_handler"  # the batch is read, nothing is done
IN_HANDLER = "in_handler"  # the handler has written, nothing is committed
BEFORE_COMMIT = "before_commit"  # the answers are stored too, nothing is committed
AFTER_COMMIT = "after_commit"  # all is committed, nothing is sent
AFTER_SEND = "after_send"  # all is sent, no offset is committed
AFTER_OFFSETS = "after_offsets"  # all is done
BEFORE_SWEEP = "before_sweep"  # a saga's host has read nothing of what is due
IN_SWEEP = "in_sweep"  # the sagas that are due have changed, nothing is committed
AFTER_SWEEP = "after_sweep"  # all is committed, nothing is sent
AFTER_SWEEP_SENT = "after_sweep_sent"  # all is sent
AFTER_ROW = "after_row"  # an adapter has stored a saga and sent nothing


class CrashPoints:
    """The crash points of one function or adapter."""

    def __init__(self, name: str, folder: Path | None) -> None:
        self._name = name
        self._folder = folder

    def reach(self, point: str) -> None:
        """Die here if this point is armed."""
        if self._folder is None:
            return
        try:
            (self._folder / f"{self._name}@{point}").unlink()
        except FileNotFoundError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


DISARMED = CrashPoints("", None)
