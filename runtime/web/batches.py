"""Batches: what many requests ask for at the same moment is done in one go."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from .problems import Busy

T = TypeVar("T")
R = TypeVar("R")

LIMIT = 500  # items in a batch
QUEUED = 4 * LIMIT  # items that may wait for their batch
COMPANY = 0.002  # seconds that a batch waits for more, where more is to be expected


class Batches(Generic[T, R]):
    """Gathers items while `work` is busy with the batch before, and hands each its result.

    One commit, or one flush of a producer, then serves all of a batch. Where `is_busy` says so,
    a batch waits for company for a moment.
    """

    def __init__(
        self,
        work: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        is_busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self._work = work
        self._is_busy = is_busy
        self._gathered: list[tuple[T, asyncio.Future[R]]] = []
        self._task: asyncio.Task[None] | None = None

    async def add(self, item: T) -> R:
        """Return the item's result, or raise what its batch failed with.

        Raises `Busy` where too many are waiting.
        """
        if len(self._gathered) >= QUEUED:
            raise Busy(f"{QUEUED} requests are waiting")
        result: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._gathered.append((item, result))
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return await result

    async def drain(self) -> None:
        """Return once nothing is being worked on."""
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        try:
            while self._gathered:
                if self._is_busy():
                    await asyncio.sleep(COMPANY)
                batch, self._gathered = self._gathered[:LIMIT], self._gathered[LIMIT:]
                await self._finish(batch)
        finally:
            self._task = None

    async def _finish(self, batch: Sequence[tuple[T, asyncio.Future[R]]]) -> None:
        # A request that has gone away has cancelled its future: nobody would hear of its item.
        batch = [(item, waiting) for item, waiting in batch if not waiting.done()]
        if not batch:
            return
        try:
            results = await self._work([item for item, _ in batch])
        except Exception as error:
            for waiting in _still_waiting(batch):
                waiting.set_exception(error)
        else:
            for (_, waiting), result in zip(batch, results, strict=True):
                if not waiting.done():
                    waiting.set_result(result)


def _still_waiting(batch: Sequence[tuple[T, asyncio.Future[R]]]) -> list[asyncio.Future[R]]:
    # A request that has gone away, or waited long enough, has cancelled its future.
    return [waiting for _, waiting in batch if not waiting.done()]
