"""What takes a while to ask for: one asks for all who want it, and nobody waits long."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")

STALE = 10.0  # seconds after which what could not be had anew is not shown any more
CLOSING = 3.0  # seconds that an answer is waited for at the end


class Kept(Generic[T]):
    """An answer, asked for again by a thread when it is wanted and older than `lasts` seconds.

    Where it raises what nobody meant, which is logged, there is no answer.
    """

    def __init__(self, ask: Callable[[], T], lasts: float) -> None:
        self._ask, self._lasts = ask, lasts
        self._answer: T | None = None
        self._at = float("-inf")
        self._turn = threading.Lock()
        self._asking: threading.Thread | None = None
        self._is_broken = False

    def get(self, by: float) -> T | None:
        """Return the answer: a new one, if it comes `by` then on a monotonic clock.

        Else it is the one before; None where there is none, or it is stale.
        """
        asking = self._begin()
        if asking is not None:
            asking.join(max(0.0, by - time.monotonic()))
        return self._answer if time.monotonic() - self._at < self._lasts + STALE else None

    def close(self) -> None:
        """Wait a moment for an answer that is still asked for."""
        if self._asking is not None:
            self._asking.join(CLOSING)

    def _begin(self) -> threading.Thread | None:
        with self._turn:
            is_asking = self._asking is not None and self._asking.is_alive()
            if not is_asking and time.monotonic() - self._at >= self._lasts:
                self._asking = threading.Thread(target=self._run, name="kept", daemon=True)
                self._asking.start()
            return self._asking

    def _run(self) -> None:
        answer, was_broken = None, self._is_broken
        try:
            answer, self._is_broken = self._ask(), False
        except Exception:
            self._is_broken = True
            if not was_broken:  # said once
                log.exception("what the console shows can't be had")
        self._answer, self._at = answer, time.monotonic()
