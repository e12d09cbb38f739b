"""What the requests of one saga's API share: its starts in batches, its producer, who waits."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from pydantic import ValidationError
from sanic import Blueprint

from .. import saga_queries
from ..clock import utcnow
from ..crash import AFTER_ROW, CrashPoints
from ..database.connection import UNAVAILABLE as DATABASE_UNAVAILABLE
from ..errors import Conflict, ContractError, NotFound
from ..saga import Saga
from ..saga_state import SagaState
from ..saga_store import SagaStore, Start, Started
from ..transition import Transition
from .app import App
from .batches import Batches
from .sending import Send, Sending
from .threads import DatabaseThreads
from .waiting import Waiting


class SagaService:
    """Starts, finds and changes the sagas of one declaration, in the database of one app.

    It sends through `send`, or through a Kafka producer of its own.
    """

    def __init__(self, saga: Saga, send: Send | None = None) -> None:
        self.saga = saga
        self._send = send
        self._producer: Any = None

    def live_with(self, api: Blueprint) -> None:
        """Open when the app of a blueprint starts, and close when it stops."""
        # As decorators: called with the listener itself, a blueprint takes only plain functions.
        api.listener("before_server_start")(self._open)
        api.listener("before_server_stop")(self._release)
        api.listener("after_server_stop")(self._close)

    async def start(self, start: Start) -> SagaState:
        """Store a new saga, then send its first command; return the saga.

        The row is there before the command is sent, so that whatever happens in between loses
        nothing. Raises `Conflict` where the idempotency key was used for something else.
        """
        started = await self._starting.add(start)
        if isinstance(started, Conflict):
            raise started
        state, commands = started
        self._crash.reach(AFTER_ROW, commands)
        await self._sending.send(commands)
        return state

    async def page(self, *arguments: Any, **options: Any) -> list[SagaState]:
        """List sagas as `saga_queries.page` does, of this declaration alone."""
        return await self._run(
            saga_queries.page, self._database, *arguments, saga=self.saga, **options
        )

    async def find(self, saga_id: UUID) -> SagaState:
        """Return a saga; raise `NotFound`, also for one of another declaration."""
        state = await self._run(saga_queries.find, self._database, str(saga_id))
        if state.name != self.saga.name:
            raise NotFound(f"no saga {saga_id}")
        return state

    async def wait(self, state: SagaState, seconds: int) -> SagaState:
        """Return the saga as it is when it has ended, or after `seconds`."""
        if state.ended:
            return state
        try:
            if ended := await self._waiting.until_ended(state.id, seconds):
                return ended
            return await self._run(saga_queries.find, self._database, state.id)
        except DATABASE_UNAVAILABLE:
            # The saga is started: an error now would make the client start it twice.
            return state

    async def cancel(self, saga_id: UUID) -> SagaState:
        """Undo a saga; raise `NotFound`, or `Conflict` when it has ended."""
        return await self._change(self._store.cancel, saga_id)

    async def retry(self, saga_id: UUID) -> SagaState:
        """Try a failed saga's undo again; raise `NotFound`, or `Conflict` otherwise."""
        return await self._change(self._store.retry, saga_id)

    async def _change(self, change: Callable[..., Transition], saga_id: UUID) -> SagaState:
        try:
            state, commands = await self._run(change, self.saga, str(saga_id), utcnow())
        except (ContractError, ValidationError) as error:
            raise Conflict(
                f"saga {saga_id} does not fit its declaration of today: {error}"
            ) from None
        await self._sending.send(commands)
        return state

    async def _open(self, app: App) -> None:
        threads: DatabaseThreads = app.ctx.threads
        self._database, self._run = threads.database, threads.run
        self._store = SagaStore(self._database)
        self._starting = Batches[Start, Started](lambda some: threads.run(self._start_all, some))
        self._waiting = Waiting(lambda ids: threads.run(self._ended, ids))
        self._crash = CrashPoints(app.ctx.service, app.ctx.settings.saga_crash_points)
        if self._send is None:
            self._producer = _producer(app)
        self._sending = app.ctx.sending = Sending(self._send or self._producer.send)

    async def _release(self, _: App) -> None:
        self._waiting.release()

    async def _close(self, _: App) -> None:
        await self._sending.drain()
        if self._producer is not None:
            self._producer.close()

    def _start_all(self, starts: Sequence[Start]) -> list[Started]:
        return self._store.start(self.saga, starts, utcnow())

    def _ended(self, saga_ids: Sequence[str]) -> list[SagaState]:
        ended = saga_queries.ended(self._database, saga_ids)
        return saga_queries.find_many(self._database, list(ended))


def _producer(app: App) -> Any:
    # Importing Quix Streams takes a second, which tests and tools need not wait for.
    from ..kafka.producer import Producer

    producer = Producer(app.ctx.settings)
    app.ctx.checks["broker"] = partial(asyncio.to_thread, producer.check)
    return producer
