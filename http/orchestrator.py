"""The orchestrator over HTTP: placing orders, and the sagas that carry them out."""

import asyncio
import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any
from uuid import UUID

import peewee
from pydantic import Field
from sanic import Blueprint, HTTPResponse, Request
from uuid_utils.compat import uuid7

from saga.functions.orchestrator.place_order import PlaceOrder, place_order
from saga.runtime import saga_queries, saga_store
from saga.runtime.clock import utcnow
from saga.runtime.crash import AFTER_ROW, CrashPoints
from saga.runtime.database.connection import UNAVAILABLE as DATABASE_UNAVAILABLE
from saga.runtime.errors import Conflict
from saga.runtime.saga_state import SagaState, SagaStatus
from saga.runtime.saga_store import SagaStore
from saga.runtime.settings import Settings
from saga.runtime.transition import Transition
from saga.runtime.web import fields, headers
from saga.runtime.web.app import App, new_app
from saga.runtime.web.batches import Batches
from saga.runtime.web.openapi import describe
from saga.runtime.web.paging import TimedPage, page, query
from saga.runtime.web.payload import Body, answer, read
from saga.runtime.web.routes import get
from saga.runtime.web.sagas import Saga
from saga.runtime.web.sending import Send, Sending
from saga.runtime.web.threads import in_thread
from saga.runtime.web.waiting import Waiting

Started = Transition | Conflict

api = Blueprint("orchestrator")


class NewOrder(Body):
    """An order to place."""

    user_id: fields.Id
    product_id: fields.Id
    quantity: Annotated[int, Field(ge=1, le=1_000_000)]


class SagaPage(TimedPage):
    """A page of sagas, all of them or those with a status."""

    status: SagaStatus | None = None


def make_app(settings: Settings, send: Send | None = None) -> App:
    """Make the orchestrator's app. It sends through `send`, or through a Kafka producer."""
    app = new_app("orchestrator", settings, saga_store.TABLES, api)

    @app.before_server_start
    async def connect(app: App) -> None:
        run = app.ctx.threads.run
        app.ctx.sender = None if send else _kafka_sender(app, settings)
        app.ctx.sending = Sending(send or app.ctx.sender.send)
        app.ctx.starting = Batches(partial(run, _start_all, app.ctx.threads.database))
        app.ctx.waiting = Waiting(partial(run, _ended, app.ctx.threads.database))
        app.ctx.crash = CrashPoints("orchestrator", settings.saga_crash_points)

    @app.before_server_stop
    async def release(app: App) -> None:
        app.ctx.waiting.release()

    @app.after_server_stop
    async def disconnect(app: App) -> None:
        await app.ctx.sending.drain()
        if app.ctx.sender is not None:
            app.ctx.sender.close()

    return app


@api.post("/orders")
@describe(
    {200: Saga, 202: Saga},
    body=NewOrder,
    errors=(409,),
    headers={
        "Idempotency-Key": "Repeated with the same body, it gives the same saga.",
        "Prefer": "`wait=N`: answer 200 as soon as the saga has ended, 202 after N seconds.",
        "traceparent": "The trace to go on with, as W3C Trace Context has it.",
    },
    response_headers={
        "Location": "The saga.",
        "Preference-Applied": "`wait`, when the preference was heeded.",
    },
)
async def place(request: Request) -> HTTPResponse:
    """Place an order: start the saga that carries it out.

    The saga's row is written before the first command is sent, so that whatever happens in between
    loses nothing.
    """
    start, wait = _start(request, read(request, NewOrder)), headers.preferred_wait(request)
    started: Started = await request.app.ctx.starting.add(start)
    if isinstance(started, Conflict):
        raise started
    state, commands = started
    request.app.ctx.crash.reach(AFTER_ROW)
    await request.app.ctx.sending.send(commands)
    if wait is None:
        return _accepted(state)
    state = await _wait(request, state, wait)
    return _accepted(state, 200 if state.ended else 202, {"Preference-Applied": "wait"})


@get(api, "/sagas")
@describe({200: list[Saga]}, query=SagaPage, response_headers={"Link": "The next page."})
async def list_sagas(request: Request) -> HTTPResponse:
    """List sagas, oldest first."""
    asked = query(request, SagaPage)
    after = str(asked.after) if asked.after else None
    found = await in_thread(
        request, saga_queries.page, _database(request), asked.limit + 1, after, asked.status
    )
    return page(request, asked, [Saga.of(state) for state in found], "saga_id")


@get(api, "/sagas/<saga_id:uuid>")
@describe({200: Saga}, errors=(404,))
async def get_saga(request: Request, saga_id: UUID) -> HTTPResponse:
    """Return a saga."""
    return answer(
        Saga.of(await in_thread(request, saga_queries.find, _database(request), str(saga_id)))
    )


@api.delete("/sagas/<saga_id:uuid>")
@describe({202: Saga}, errors=(404, 409), response_headers={"Location": "The saga."})
async def cancel_saga(request: Request, saga_id: UUID) -> HTTPResponse:
    """Cancel a saga: what was done is undone."""
    return await _act(request, SagaStore(_database(request)).cancel, saga_id)


@api.post("/sagas/<saga_id:uuid>/retry")
@describe({202: Saga}, errors=(404, 409), response_headers={"Location": "The saga."})
async def retry_saga(request: Request, saga_id: UUID) -> HTTPResponse:
    """Try the failed undo of a FAILED saga again."""
    return await _act(request, SagaStore(_database(request)).retry, saga_id)


def _start(request: Request, order: NewOrder) -> saga_store.Start:
    wanted = order.model_dump()
    return saga_store.Start(
        saga_id=str(uuid7()),
        message=PlaceOrder(order_id=uuid7(), **wanted),
        idempotency_key=headers.idempotency_key(request),
        fingerprint=json.dumps(wanted, sort_keys=True),
        traceparent=headers.traceparent(request),
    )


def _start_all(database: peewee.Database, starts: Sequence[saga_store.Start]) -> list[Started]:
    return SagaStore(database).start(place_order, starts, utcnow())


def _ended(database: peewee.Database, saga_ids: Sequence[str]) -> list[SagaState]:
    return saga_queries.find_many(database, list(saga_queries.ended(database, saga_ids)))


def _database(request: Request) -> peewee.Database:
    database: peewee.Database = request.app.ctx.threads.database
    return database


async def _wait(request: Request, state: SagaState, seconds: int) -> SagaState:
    """Return the saga as it is when it has ended, or after `seconds`."""
    if state.ended:
        return state
    waiting: Waiting = request.app.ctx.waiting
    try:
        if ended := await waiting.until_ended(state.id, seconds):
            return ended
        return await in_thread(request, saga_queries.find, _database(request), state.id)
    except DATABASE_UNAVAILABLE:
        # The order is placed: an error now would make the client place it twice.
        return state


async def _act(request: Request, action: Callable[..., Transition], saga_id: UUID) -> HTTPResponse:
    state, commands = await in_thread(request, action, place_order, str(saga_id), utcnow())
    await request.app.ctx.sending.send(commands)
    return _accepted(state)


def _accepted(
    state: SagaState, status: int = 202, more: dict[str, str] | None = None
) -> HTTPResponse:
    return answer(Saga.of(state), status, {"Location": f"/sagas/{state.id}", **(more or {})})


def _kafka_sender(app: App, settings: Settings) -> Any:
    # Importing Quix Streams takes a second, which tests and tools need not wait for.
    from saga.runtime.kafka.producer import Producer

    sender = Producer(settings)
    app.ctx.checks["broker"] = partial(asyncio.to_thread, sender.check)
    return sender
