"""The watchdog: ends this process where a handler takes longer than it may.

It is the kernel's timer, so that a handler which keeps the interpreter to itself is ended, too:
SIGALRM writes the traceback of all threads to the log, by Python's `faulthandler`, and ends the
process. The supervisor, Docker or Kubernetes starts another.
"""

import faulthandler
import signal
import sys


class Watchdog:
    """For the handlers of one process: a context in which their time counts, in seconds.

    A supervisor that finds a loop standing still sends SIGALRM, too.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        faulthandler.register(signal.SIGALRM, file=sys.stderr, all_threads=True, chain=True)

    def __enter__(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, self._seconds)

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
