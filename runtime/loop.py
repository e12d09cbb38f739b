"""What a process does again and again, with a database and a broker that may be unavailable."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar, TypeVarTuple

import peewee
import tenacity

from . import crash
from .clock import Clock, utcnow
from .database.connection import MEMORY
from .database.connection import UNAVAILABLE as DATABASE_UNAVAILABLE
from .errors import BrokerUnavailable, first_line
from .observer import NOBODY
from .retry import Retry

log = logging.getLogger(__name__)
T = TypeVar("T")
Given = TypeVarTuple("Given")

# What may pass by itself. An integrity error is another process that answered the same command
# while we did: the next look into the inbox finds its answer.
DATABASE_ERRORS = (*DATABASE_UNAVAILABLE, peewee.IntegrityError)
UNAVAILABLE = (*DATABASE_ERRORS, BrokerUnavailable)
WAIT = Retry(first=0.1, longest=5.0)
# How a transaction is retried, before its whole turn counts as failed.
RETRYING = tenacity.Retrying(
    retry=tenacity.retry_if_exception_type(DATABASE_ERRORS),
    stop=tenacity.stop_after_delay(1.0),  # seconds
    wait=tenacity.wait_random_exponential(multiplier=0.01, max=0.2),  # seconds
    reraise=True,
)


class Loop:
    """Takes turns until it is told to stop, and outlives what is unavailable meanwhile."""

    def __init__(
        self,
        name: str,
        database: peewee.Database,
        clock: Clock = utcnow,
        crash_points: crash.CrashPoints = crash.DISARMED,
    ) -> None:
        self.name = name
        self.database = database
        self.clock = clock
        self.failures = 0  # turns in succession that something unavailable has ended
        self.retrying = RETRYING
        self.stopwatch: Callable[[], float] = time.monotonic  # seconds
        self.time_limit: AbstractContextManager[None] = nullcontext()  # around handlers
        self.observer = NOBODY
        self._crash = crash_points

    def _repeat(self, turn: Callable[[], float], stop: threading.Event) -> None:
        """Take turns until `stop` is set; a turn returns for how many seconds to wait then."""
        while not stop.is_set():
            try:
                delay = turn()
                self.failures = 0
            except UNAVAILABLE as error:
                self.failures += 1
                delay = WAIT.delay(self.failures, self.name)
                log.warning("%s; trying again in %.1f s", first_line(error), delay)
                self._reconnect()
            if delay:
                stop.wait(delay)

    def _retried(self, work: Callable[[*Given], T], *given: *Given) -> T:
        """Work in a transaction; retry for a while what passes by itself, then raise it."""
        try:
            return work(*given)
        except DATABASE_ERRORS:
            self._reconnect()
        retrying = self.retrying.copy(before_sleep=lambda _: self._reconnect())
        return retrying(work, *given)

    def _reconnect(self) -> None:
        """Drop a connection that may be broken; one in memory can't be, and is all that there is.

        On a file, one where somebody has left a SELECT open can't write any more.
        """
        if self.database.database != MEMORY:
            self.database.close()
