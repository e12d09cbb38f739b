"""Admission: how many sagas of one kind may be in flight before no more are let in.

What is let in is completed at the rate of the machine; more of it at once would only wait longer,
and in the end run into its deadlines. So the one who asks is told to come again, while that costs
next to nothing.
"""

import time
from collections.abc import Awaitable, Callable

from .problems import Busy

COUNTED_FOR = 0.5  # seconds that a count is good for


class Admission:
    """Lets sagas in up to `limit`. `count` returns how many are in flight, up to its argument.

    Between two counts those let in are added, and those that have ended not yet taken off: the
    limit may be met a moment early, and is exceeded by as many as other processes let in.
    """

    def __init__(self, limit: int, count: Callable[[int], Awaitable[int]]) -> None:
        self._limit = limit
        self._count = count
        self._there = 0
        self._counted_at = -COUNTED_FOR

    async def enter(self) -> None:
        """Let one more in; raise `Busy` where there are too many."""
        now = time.monotonic()
        if now - self._counted_at >= COUNTED_FOR:
            self._counted_at = now  # one asks for all
            self._there = await self._count(self._limit)
        if self._there >= self._limit:
            raise Busy(f"{self._limit} sagas are in flight")
        self._there += 1
