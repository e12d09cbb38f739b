"""What breaks a deploy off: Ctrl-C, SIGTERM, the loss of its terminal; and what they must not."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

ENDS = (signal.SIGTERM, signal.SIGHUP)


def raise_when_told_to_end() -> None:
    """Let SIGTERM and SIGHUP raise `SystemExit`, so that what is half done is taken back.

    A signal that whoever has started us ignores, as `nohup` does, stays ignored.
    """
    for number in ENDS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, _: sys.exit(128 + number))


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Do what is inside as a whole: a signal that comes meanwhile is heard at its end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, *ENDS})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
