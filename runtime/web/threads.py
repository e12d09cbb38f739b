"""The threads in which an app talks to its database, away from the event loop."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

import peewee
from sanic import Request

from ..database.connection import UNAVAILABLE as DATABASE_UNAVAILABLE
from .problems import Busy

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 4  # peewee opens one connection a thread
QUEUED = 1_000  # calls that may wait for a thread
CLOSING = 5.0  # seconds that a busy thread is waited for


class DatabaseThreads:
    """A few threads, each with a connection of its own to one database."""

    def __init__(self, database: peewee.Database) -> None:
        self.database = database
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="database")
        # Asked for a sign of life, however busy the others are.
        self._own = ThreadPoolExecutor(1, thread_name_prefix="health")
        self._running = 0

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `work` in one of the threads; raise `Busy` where too many calls wait for one."""
        if self._running >= THREADS + QUEUED:
            raise Busy(f"{QUEUED} requests are waiting for the database")
        loop = asyncio.get_running_loop()
        self._running += 1
        try:
            # In the caller's context: what is logged there is on behalf of its request, too.
            run = partial(copy_context().run, partial(self._work, work, *args, **kwargs))
            return await loop.run_in_executor(self._pool, run)
        finally:
            self._running -= 1

    async def ask(self) -> None:
        """Ask the database for a sign of life."""
        ask = partial(self._work, self.database.execute_sql, "SELECT 1")
        await asyncio.get_running_loop().run_in_executor(self._own, ask)

    def close(self) -> None:
        """Close every thread's connection, and end the threads."""
        # A connection is closed in its own thread; the barrier gives each thread one turn.
        everybody = threading.Barrier(THREADS)
        for _ in range(THREADS):
            self._pool.submit(self._leave, everybody)
        self._pool.shutdown()
        self._own.submit(self.database.close)
        self._own.shutdown()

    def _work(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return work(*args, **kwargs)
        except DATABASE_UNAVAILABLE:
            # The connection may be dead; the thread's next use opens a new one.
            self.database.close()
            raise

    def _leave(self, everybody: threading.Barrier) -> None:
        with suppress(threading.BrokenBarrierError):
            everybody.wait(CLOSING)
        self.database.close()


async def in_thread(request: Request, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `work` in one of the database threads of the request's app."""
    threads: DatabaseThreads = request.app.ctx.threads
    return await threads.run(work, *args, **kwargs)
