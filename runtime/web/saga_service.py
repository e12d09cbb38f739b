"""What the requests of one saga's API share: its starts in batches, its producer, who waits."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import UUID

from pydantic import ValidationError
from sanic import Blueprint

from .. import saga_queries
from ..clock import utcnow
from ..crash import AFTER_ROW, CrashPoints
from ..database.connection import UNAVAILABLE as DATABASE_UNAVAILABLE
from ..envelope import Envelope, Record
from ..errors import BrokerUnavailable, ContractError, NotFound, Unreadable
from ..message import why
from ..observer import Applied
from ..saga import Saga
from ..saga_state import SagaState
from ..saga_store import SagaStore, Start, Started
from ..settings import Settings
from ..transition import Transition
from .admission import Admission
from .app import App, Check
from .batches import Batches
from .completion import complete
from .measured import change_counter, sent_counter
from .problem_types import SAGA_OUTDATED, SAGA_UNREADABLE
from .problems import Busy, Conflict, Invalid
from .saga_events import SagaEvents
from .saga_shapes import ELSEWHERE
from .threads import DatabaseThreads
from .waiting import SELDOM, Waiting

log = logging.getLogger(__name__)

MANY = 8  # clients that wait for their sagas

Send = Callable[[Sequence[Envelope]], None]


class SagaService:
    """Starts, finds and changes the sagas of one declaration, in the database of one app.

    It sends through `send`, which has to wait for nothing, or through a Kafka producer of its own;
    then it also hears from the sagas' host which have ended.
    """

    def __init__(self, saga: Saga, send: Send | None = None) -> None:
        self.saga = saga
        self._send = send
        self._connections: list[Any] = []

    def live_with(self, api: Blueprint) -> None:
        """Open when the app of a blueprint starts, and close when it stops."""
        # As decorators: called with the listener itself, a blueprint takes only plain functions.
        api.listener("before_server_start")(self._open)
        api.listener("before_server_stop")(self._release)
        api.listener("after_server_stop")(self._close)

    async def start(self, start: Start) -> SagaState:
        """Store a new saga, then send its first command; return the saga.

        The row is there before the command is sent, so that whatever happens in between loses
        nothing. Raises `Conflict` where the idempotency key was used for something else, and `Busy`
        where too many sagas are in flight.
        """
        async with self._admission.one_more():
            started = await self._starting.add(start)
        if isinstance(started, RecursionError):
            raise Invalid({"body": "is nested too deep"}) from started
        if isinstance(started, Exception):
            raise started
        return started[0]

    async def look(self, *arguments: Any, **options: Any) -> tuple[list[SagaState], str | None]:
        """List sagas as `saga_queries.look` does, of this declaration alone."""
        return await self._run(
            saga_queries.look, self._database, *arguments, saga=self.saga, **options
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
            if ended := await self._waiting.until_ended(state, seconds):
                return ended
            return await self._run(saga_queries.find, self._database, state.id)
        except (*DATABASE_UNAVAILABLE, Busy):
            # The saga is started: an error now would make the client start it twice.
            return state

    async def cancel(self, saga_id: UUID) -> SagaState:
        """Undo a saga; raise `NotFound`, or `Conflict` when it has ended."""
        return await self._change(SagaStore.cancel, saga_id)

    async def retry(self, saga_id: UUID) -> SagaState:
        """Try a failed saga's undos again, or take up one that was UNREADABLE.

        Raises `NotFound`, or `Conflict` otherwise.
        """
        return await self._change(SagaStore.retry, saga_id)

    async def skip(self, saga_id: UUID, step: str, by: str, reason: str) -> SagaState:
        """Record that a person has done a failed undo by hand; raise `NotFound`, or `Conflict`."""
        return await self._change(SagaStore.skip, saga_id, step=step, by=by, reason=reason)

    async def _change(
        self, change: Callable[..., Transition], saga_id: UUID, **how: str
    ) -> SagaState:
        return await complete(self._change_and_send(change, saga_id, **how))

    async def _change_and_send(
        self, change: Callable[..., Transition], saga_id: UUID, **how: str
    ) -> SagaState:
        changed: list[Applied] = []
        store = SagaStore(self._database, lambda applied, _: changed.append(applied))
        try:
            state, commands = await self._run(
                change, store, self.saga, str(saga_id), utcnow(), **how
            )
        except Unreadable:
            what = f"saga {saga_id} is UNREADABLE: {ELSEWHERE}"
            raise Conflict(what, SAGA_UNREADABLE) from None
        except (ContractError, ValidationError) as error:
            log.warning("saga %s can't be changed: %s", saga_id, why(error))
            what = f"saga {saga_id} does not fit its declaration of today"
            raise Conflict(what, SAGA_OUTDATED) from None
        for applied in changed:
            self._count(applied.old, applied.new)
        self._hand_over(commands)
        return state

    def _hand_over(self, commands: Sequence[Envelope]) -> None:
        """Let commands be sent, which waits for nobody.

        Failing to is no error of the request: the saga's row is there, and its host sends the
        commands again. Raised, it would make a client start a saga twice.
        """
        try:
            if commands:
                self._post(self._sending(commands))
        except Exception as error:
            # One of ours needs no traceback.
            unknown = not isinstance(error, BrokerUnavailable)
            told = "%d commands not sent, their sagas' host will: %s"
            log.warning(told, len(commands), error, exc_info=unknown)

    async def _open(self, app: App) -> None:
        threads: DatabaseThreads = app.ctx.threads
        self._database, self._run = threads.database, threads.run
        self._store = SagaStore(self._database)
        self.events: SagaEvents = app.ctx.events
        self._starting = Batches[Start, Started](self._start_all, self._is_busy)
        limit = app.ctx.settings.saga_in_flight
        self._admission = Admission(limit, self._in_flight)
        self._crash = CrashPoints(app.ctx.service, app.ctx.settings.saga_crash_points)
        self._sending = app.ctx.sending
        self._count = change_counter(app.ctx.settings, self.saga)
        if self._send is None:
            self._connect(app)
        else:
            self._post = self._send
            self._waiting = Waiting(self._which_ended)

    async def _release(self, _: App) -> None:
        self._waiting.release()

    async def _close(self, _: App) -> None:
        for connection in self._connections:
            await asyncio.to_thread(connection.close)

    def _connect(self, app: App) -> None:
        # Importing Quix Streams takes a second, which tests and tools need not wait for.
        from ..kafka.producer import Producer
        from ..kafka.tail import Tail

        settings: Settings = app.ctx.settings
        loop = asyncio.get_running_loop()
        self._waiting = Waiting(self._which_ended, SELDOM)

        def tell(records: Sequence[Record]) -> None:
            ended = {(r.key or b"").decode(): (r.value or b"").decode() for r in records}
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._waiting.tell, ended)

        producer = Producer(settings, sent_counter(settings))
        self._post = producer.post
        self._connections = [producer, Tail(settings, self.saga.ended_topic, tell)]
        app.ctx.checks["broker"] = Check(partial(asyncio.to_thread, producer.check))

    async def _in_flight(self, most: int) -> int:
        return await self._run(saga_queries.in_flight, self._database, self.saga, most)

    def _is_busy(self) -> bool:
        """Tell whether clients wait for so many sagas that a moment more is little to them.

        What starts together goes on together, and shares the turns of all steps.
        """
        return self._waiting.count >= MANY

    async def _which_ended(self, saga_ids: Sequence[str]) -> list[SagaState]:
        return await self._run(self._ended, saga_ids)

    async def _start_all(self, starts: Sequence[Start]) -> list[Started]:
        """Store new sagas, then send their first commands all at once.

        Whoever takes the first of them finds the others with it.
        """
        results = await self._run(self._store.start, self.saga, starts, utcnow())
        begun = [result for result in results if not isinstance(result, Exception)]
        commands = [command for _, commands in begun for command in commands]
        self._crash.reach(AFTER_ROW, commands)
        self._hand_over(commands)
        return results

    def _ended(self, saga_ids: Sequence[str]) -> list[SagaState]:
        ended = saga_queries.ended(self._database, saga_ids)
        return saga_queries.find_many(self._database, list(ended))
