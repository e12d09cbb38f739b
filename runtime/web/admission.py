"""Admission: how many sagas of one kind may be in flight before no more are let in.

What is let in is completed at the rate of the machine; more of it at once would only wait longer,
and in the end run into its deadlines. So the one who asks is told to come again, while that costs
next to nothing.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from .problems import Busy

COUNTED_FOR = 0.5  # seconds that a count is good for


class Admission:
    """Lets sagas in up to `limit`. `count` returns how many are in flight, up to its argument.

    Between two counts those let in are added, and those that have ended not yet taken off: the
    limit may be met a moment early. It is exceeded only by what other processes let in between two
    counts: those of N adapters let in N times the limit at the very most.
    """

    def __init__(self, limit: int, count: Callable[[int], Awaitable[int]]) -> None:
        self._limit = limit
        self._count = count
        self._there = 0
        self._let_in = 0  # ever
        self._storing = 0  # let in, and perhaps in no row that a count finds
        self._counted_at = -COUNTED_FOR

    @asynccontextmanager
    async def one_more(self) -> AsyncIterator[None]:
        """Let one more in, whose row is there at the end; raise `Busy` where there are too many."""
        now = time.monotonic()
        if now - self._counted_at >= COUNTED_FOR:
            self._counted_at = now  # one asks for all
            before, unseen = self._let_in, self._storing
            counted = await self._count(self._limit)
            self._there = counted + unseen + self._let_in - before
        if self._there >= self._limit:
            raise Busy(f"{self._limit} sagas are in flight")
        self._there += 1
        self._let_in += 1
        self._storing += 1
        try:
            yield
        finally:
            self._storing -= 1
