"""Sagas as they change, as server-sent events: one reader of the database for all of an app.

It asks only while a stream is open. A stream first reads for itself what its client has missed,
then it is told by the reader. One whose client is too slow is ended: the client comes again, with
the id of the last event that it has seen.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager

from .. import saga_changes, saga_queries
from ..database.connection import UNAVAILABLE as DATABASE_UNAVAILABLE
from ..saga_changes import Place
from ..saga_history import histories
from ..saga_state import IN_FLIGHT, SagaState
from .changed_sagas import Told, shown, standing, told_of
from .problems import Busy, Stopping
from .threads import DatabaseThreads

log = logging.getLogger(__name__)

OFTEN = 0.25  # seconds between two looks at what has changed
AT_ONCE = 50  # transactions that are read together
STREAMS = 200  # that may be open at once
BUFFERED = 5_000  # changes that wait for a slow client
HEARTBEAT = 15.0  # seconds after which a stream says that it is there
FOLLOWED = {*IN_FLIGHT, "UNREADABLE"}  # the statuses of sagas of which there may be more to tell
RETRY = "retry: 1000\n"  # milliseconds after which a client whose stream has ended comes again


class Lost(Busy):
    """What comes next is dropped, as after an outage or a long transaction on the server."""


class Follower:
    """What one stream has still to tell."""

    def __init__(self) -> None:
        self._told: list[Told] = []
        self._woken = asyncio.Event()
        self._ended = False

    def put(self, told: Sequence[Told]) -> None:
        """Add changes; where too many are waiting, that is the end."""
        self._told += told
        self._woken.set()
        if len(self._told) > BUFFERED:
            self._told.clear()
            self.end()

    def end(self) -> None:
        """Let the stream end."""
        self._ended = True
        self._woken.set()

    async def texts(self, write: Callable[[list[Told]], str]) -> AsyncGenerator[str, None]:
        """Write what is told as it comes, or a comment after a while, until the end."""
        spoke_at = time.monotonic()
        while not self._ended:
            try:
                async with asyncio.timeout(spoke_at + HEARTBEAT - time.monotonic()):
                    await self._woken.wait()
            except TimeoutError:
                pass
            self._woken.clear()
            told, self._told = self._told, []
            text = write(told)
            if text or time.monotonic() - spoke_at >= HEARTBEAT:
                yield text or ":\n\n"
                spoke_at = time.monotonic()


class SagaEvents:
    """The streams of one app, and their reader."""

    def __init__(self, threads: DatabaseThreads) -> None:
        self._run, self._database = threads.run, threads.database
        self._followers: set[Follower] = set()
        self._stopping = False
        self._starting = asyncio.Lock()
        self._reading: asyncio.Task[None] | None = None
        self._place = Place(0, 0)  # behind what the reader has told

    def end(self) -> None:
        """End all streams, and begin no more."""
        self._stopping = True
        for follower in self._followers:
            follower.end()

    async def of_all(self, name: str | None, after: Place | None) -> AsyncGenerator[str, None]:
        """Tell the sagas of one declaration, or of all, from a place on, or from now on.

        Where not all is kept that was behind that place, this is told, and the rest is from now on.
        Raises `Busy` or `Stopping`.
        """
        async with self._follow() as follower:
            now, seen = self._place, after or self._place
            if after is None:
                yield f"{RETRY}id: {now}\n\n"
            elif await self._run(saga_changes.is_lost, self._database, after):
                seen = now
                yield f"{RETRY}event: reset\nid: {now}\ndata: {{}}\n\n"
            else:
                yield f"{RETRY}\n"

            def write(told: list[Told]) -> str:
                new = [
                    o for o in told if o.place > seen and (name is None or o.change.name == name)
                ]
                return "".join(one.event(one.place) for one in new)

            while seen < now:
                told, reached = await self._run(self._read, seen)
                if text := write(told):
                    yield text
                if reached == seen:
                    break
                seen = reached
            async with aclosing(follower.texts(write)) as texts:
                async for text in texts:
                    yield text

    async def of_one(self, state: SagaState, after: int) -> AsyncGenerator[str, None]:
        """Tell a saga's history behind the entry `after`, and what is added, until it has ended.

        Nothing is told where nothing is left to tell. Raises `Busy` or `Stopping`.
        """
        async with self._follow() as follower:
            last, ended = after, False

            def write(told: list[Told]) -> str:
                nonlocal last, ended
                new = [
                    one
                    for one in told
                    if one.change.saga_id == state.id
                    and (one.change.index is None or one.change.index > last)
                ]
                if new:
                    last = max([last, *(i for one in new if (i := one.change.index) is not None)])
                    ended = new[-1].change.status not in FOLLOWED
                return "".join(one.event(one.change.index) for one in new)

            begun, history = await self._run(self._history, state.id)
            text = write(history)
            over = begun.status not in FOLLOWED
            if over and not text:
                return
            yield RETRY + (text or "\n")
            if over:
                return
            async with aclosing(follower.texts(write)) as texts:
                async for text in texts:
                    yield text
                    if ended:
                        return

    @asynccontextmanager
    async def _follow(self) -> AsyncIterator[Follower]:
        """Let a stream be told all that is behind the reader's place of now."""
        if self._stopping:
            raise Stopping("the service is stopping")
        if len(self._followers) >= STREAMS:
            raise Busy(f"{STREAMS} streams are open")
        follower = Follower()
        self._followers.add(follower)
        try:
            async with self._starting:
                if self._reading is None:
                    self._place = await self._run(saga_changes.position, self._database)
                    self._reading = asyncio.create_task(self._tell())
            yield follower
        finally:
            self._followers.discard(follower)

    async def _tell(self) -> None:
        """Tell all streams what changes, as long as there are some."""
        away = False
        try:
            while self._followers:
                before = self._place
                try:
                    told, self._place = await self._run(self._read, before)
                    away = False
                except Lost:
                    raise
                except (*DATABASE_UNAVAILABLE, Busy) as error:
                    if not away:  # said once, not four times a second
                        log.warning("can't ask for what has changed: %s", error)
                    told, away = [], True
                for follower in self._followers:
                    follower.put(told)
                if self._place == before:
                    await asyncio.sleep(OFTEN)
        except Exception:
            log.exception("sagas' streams are ended")
            for follower in self._followers:
                follower.end()
        finally:
            self._reading = None

    def _read(self, after: Place) -> tuple[list[Told], Place]:
        changes = saga_changes.read(self._database, after, AT_ONCE)
        if changes and saga_changes.is_lost(self._database, after):
            raise Lost("changes are dropped that were not told yet")
        states = saga_queries.find_many(self._database, list({one.saga_id for one in changes}))
        known = histories(self._database, states)
        by_id = {state.id: state for state in states}
        told = [
            one
            for change in changes
            if change.saga_id in by_id
            for one in told_of(change, by_id[change.saga_id], known[change.saga_id])
        ]
        return told, changes[-1].place if changes else after

    def _history(self, saga_id: str) -> tuple[SagaState, list[Told]]:
        state = saga_queries.find(self._database, saga_id)
        moments = histories(self._database, [state])[saga_id]
        told = [shown(Place(0, 0), state, i, one) for i, one in enumerate(moments)]
        if state.status == "UNREADABLE":
            told.append(standing(Place(0, 0), state, state.status, state.updated_at))
        return state, told
