"""Waiting for sagas to end: told by their host, or else by one poll of the database for all."""

import asyncio
import logging
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime

from pydantic import ValidationError

from ..database.connection import UNAVAILABLE as DATABASE_UNAVAILABLE
from ..saga_state import SagaState, from_json
from .problems import Busy

log = logging.getLogger(__name__)

OFTEN = 0.02  # seconds between two polls where nobody tells
SELDOM = 0.5  # seconds, for what was told in vain
WAITERS = 2_000  # requests that may wait at once; others are answered without
KEPT = 1_000  # sagas whose end was told last: a client may come to wait a moment later

Ended = Callable[[Sequence[str]], Awaitable[Sequence[SagaState]]]
Waiter = asyncio.Future[SagaState | None]


class Waiting:
    """The requests that wait for sagas to end.

    `ended` returns those of the given sagas that have ended; it is asked only while somebody waits,
    every `interval` seconds.
    """

    def __init__(self, ended: Ended, interval: float = OFTEN) -> None:
        self._ended = ended
        self._interval = interval
        # Who waits, each for an end that is not older than a moment: an operator may have taken a
        # saga up again that had ended.
        self._waiters: defaultdict[str, dict[Waiter, datetime]] = defaultdict(dict)
        self._count = 0
        self._told: OrderedDict[str, str] = OrderedDict()
        self._polling: asyncio.Task[None] | None = None

    @property
    def count(self) -> int:
        """How many requests are waiting."""
        return self._count

    async def until_ended(self, state: SagaState, seconds: float) -> SagaState | None:
        """Return the saga when it has ended, or None after `seconds`.

        Returns None at once where too many are waiting.
        """
        end = _read(self._told.get(state.id))
        if end is not None and end.updated_at >= state.updated_at:
            return end
        if self._count >= WAITERS:
            return None
        waiter: Waiter = asyncio.get_running_loop().create_future()
        self._waiters[state.id][waiter] = state.updated_at
        self._count += 1
        if self._polling is None:
            self._polling = asyncio.create_task(self._poll())
        over = asyncio.get_running_loop().call_later(seconds, _let_go, waiter, None)
        try:
            return await waiter
        finally:
            over.cancel()
            self._forget(state.id, waiter)

    def tell(self, ended: Mapping[str, str]) -> None:
        """Let those go who wait for sagas that have ended, given as JSON by their ids."""
        self._told.update(ended)
        while len(self._told) > KEPT:
            self._told.popitem(last=False)
        for saga_id in ended.keys() & self._waiters.keys():
            if end := _read(ended[saga_id]):
                self._wake(end)

    def release(self) -> None:
        """Let everybody go, ended or not."""
        for waiters in list(self._waiters.values()):
            for waiter in waiters:
                _let_go(waiter, None)

    def _forget(self, saga_id: str, waiter: Waiter) -> None:
        self._count -= 1
        del self._waiters[saga_id][waiter]
        if not self._waiters[saga_id]:
            del self._waiters[saga_id]

    async def _poll(self) -> None:
        try:
            await asyncio.sleep(self._interval)
            while self._waiters:
                try:
                    for state in await self._ended(list(self._waiters)):
                        self._wake(state)
                except (*DATABASE_UNAVAILABLE, Busy) as error:
                    log.warning("can't ask for ended sagas: %s", error)
                await asyncio.sleep(self._interval)
        finally:
            self._polling = None

    def _wake(self, end: SagaState) -> None:
        for waiter, since in self._waiters.get(end.id, {}).items():
            if end.updated_at >= since:
                _let_go(waiter, end)


def _read(told: str | None) -> SagaState | None:
    """Read an end that was told; one of another version is left to the poll."""
    try:
        return None if told is None else from_json(told)
    except ValidationError:
        return None


def _let_go(waiter: Waiter, end: SagaState | None) -> None:
    if not waiter.done():
        waiter.set_result(end)
