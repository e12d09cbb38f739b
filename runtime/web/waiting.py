"""Waiting for sagas to end: one poll of the database for all who wait."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence

from ..database.connection import UNAVAILABLE as DATABASE_UNAVAILABLE
from ..saga_state import SagaState

log = logging.getLogger(__name__)

INTERVAL = 0.02  # seconds between two polls

Ended = Callable[[Sequence[str]], Awaitable[Sequence[SagaState]]]
Waiter = asyncio.Future[SagaState | None]


class Waiting:
    """The requests that wait for sagas to end.

    `ended` returns those of the given sagas that have ended. It is asked only while somebody waits.
    """

    def __init__(self, ended: Ended) -> None:
        self._ended = ended
        self._waiters: defaultdict[str, set[Waiter]] = defaultdict(set)
        self._polling: asyncio.Task[None] | None = None

    async def until_ended(self, saga_id: str, seconds: float) -> SagaState | None:
        """Return the saga when it has ended, or None after `seconds`."""
        waiter: Waiter = asyncio.get_running_loop().create_future()
        self._waiters[saga_id].add(waiter)
        if self._polling is None:
            self._polling = asyncio.create_task(self._poll())
        try:
            async with asyncio.timeout(seconds):
                return await waiter
        except TimeoutError:
            return None
        finally:
            self._forget(saga_id, waiter)

    def release(self) -> None:
        """Let everybody go, ended or not."""
        for saga_id in list(self._waiters):
            self._wake(saga_id, None)

    def _forget(self, saga_id: str, waiter: Waiter) -> None:
        self._waiters[saga_id].discard(waiter)
        if not self._waiters[saga_id]:
            del self._waiters[saga_id]

    async def _poll(self) -> None:
        try:
            while self._waiters:
                try:
                    for state in await self._ended(list(self._waiters)):
                        self._wake(state.id, state)
                except DATABASE_UNAVAILABLE as error:
                    log.warning("can't ask for ended sagas: %s", error)
                await asyncio.sleep(INTERVAL)
        finally:
            self._polling = None

    def _wake(self, saga_id: str, state: SagaState | None) -> None:
        for waiter in self._waiters.get(saga_id, ()):
            if not waiter.done():
                waiter.set_result(state)
