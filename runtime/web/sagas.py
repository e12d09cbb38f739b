"""A REST API for a saga, made from its declaration: start, list, show, cancel, retry and skip."""

import re
from dataclasses import dataclass
from http import HTTPStatus
from uuid import UUID

from pydantic import BaseModel
from sanic import Blueprint, HTTPResponse, Request
from uuid_utils.compat import uuid7

from ..saga import Saga
from ..saga_state import SagaState
from ..saga_store import Start
from . import access_log, headers, streams
from .changed_sagas import SagaEvent
from .openapi import Headers, describe
from .paging import part, query
from .payload import answer, read
from .problem_types import (
    KEY_REUSED,
    NO_FAILED_UNDO,
    SAGA_ENDED,
    SAGA_NOT_FAILED,
    SAGA_OUTDATED,
    SAGA_UNREADABLE,
)
from .problems import RETRY_AFTER
from .routes import add
from .saga_service import SagaService, Send
from .saga_shapes import Assigned, SagaShapes, Skip

START = "Start a saga.\n\nIts row is written before its first command is sent: nothing gets lost."
START_HEADERS: Headers = {
    "Idempotency-Key": headers.KEY,
    "Prefer": "`wait=N`: answer 200 as soon as the saga has ended, 202 after N seconds.",
    "traceparent": "The trace to go on with, as W3C Trace Context has it.",
}
WAIT = {"Prefer": "`wait=N`: answer as soon as the saga has ended, or after N seconds."}
APPLIED = {"Preference-Applied": "`wait`, when the preference was heeded."}
SEEN: Headers = {
    streams.LAST_EVENT_ID: "The id of the last event that was seen: tell those after it."
}
SAGA_ID = {"saga_id": "$response.body#/saga_id"}
ACCEPTED = {
    "Location": "The saga.",
    "Retry-After": "With 202: seconds after which to ask for the saga again.",
}


@dataclass(frozen=True)
class SagaApi:
    """What a saga's blueprint keeps as `ctx.saga_api`, for pages that show its sagas."""

    service: SagaService
    shapes: SagaShapes
    path: str


def saga_blueprint(
    saga: Saga,
    *,
    path: str = "/sagas",
    start: str | None = None,
    body: type[BaseModel] | None = None,
    assigned: Assigned | None = None,
    summary: str = START,
    send: Send | None = None,
) -> Blueprint:
    """Make the API of a saga: `POST start` (or `path`), and the sagas of its name at `path`.

    `body` is the model of the request that starts one. Without it, the request has the start
    message's fields but those in `assigned`, which the server makes: `{"trip_id": uuid4}`. The list
    is filtered by the fields in the saga's `search`. `summary` describes the start in OpenAPI.

    It is for an app that has `saga_store.TABLES`. Commands go through `send`, or else to Kafka.
    Raises `ContractError` where `body` and `assigned` don't make a start message.
    """
    shapes = SagaShapes(saga, body, assigned)
    routes = _Routes(SagaService(saga, send), shapes, path)
    name = re.sub(r"\W", "_", saga.name)
    api = Blueprint(name)
    api.ctx.saga_api = SagaApi(routes.service, shapes, path)
    routes.service.live_with(api)
    routes.describe(name, summary)
    one = f"{path}/<saga_id:uuid>"
    add(api, routes.start, start or path, ["POST"])
    add(api, routes.list, path)
    add(api, routes.show, one)
    add(api, routes.follow_all, f"{path}/events")
    add(api, routes.follow, f"{one}/events")
    add(api, routes.cancel, one, ["DELETE"])
    add(api, routes.retry, f"{one}/retry", ["POST"])
    add(api, routes.skip, f"{one}/skip", ["POST"])
    return api


class _Routes:
    """The handlers of one saga's API."""

    def __init__(self, service: SagaService, shapes: SagaShapes, path: str) -> None:
        self.service = service
        self._shapes = shapes
        self._path = path

    async def start(self, request: Request) -> HTTPResponse:
        wanted = read(request, self._shapes.body)
        key = headers.idempotency_key(request)
        start = Start(
            saga_id=str(uuid7()),
            message=self._shapes.message(wanted),
            idempotency_key=key,
            fingerprint="" if key is None else self._shapes.fingerprint(wanted),
            traceparent=headers.traceparent(request),
        )
        wait = headers.preferred_wait(request)
        access_log.note_saga(start.saga_id, start.traceparent)
        state = await self.service.start(start)
        if state.id != start.saga_id:
            access_log.note_saga(state.id, state.traceparent)
        if wait is None:
            return self._accepted(state)
        state = await self.service.wait(state, wait)
        return self._accepted(state, 200 if state.ended else 202, _APPLIED)

    async def list(self, request: Request) -> HTTPResponse:
        """List sagas, oldest first.

        With `status`, a page may be short, or empty, though its `Link` tells of more.
        """
        asked = query(request, self._shapes.page)
        after = str(asked.after) if asked.after else None
        search = self._shapes.search(asked)
        look = self.service.look
        found, last = await look(asked.limit, after, asked.status, search=search, ids=asked.ids)
        return part(request, asked, [self._shapes.show(state) for state in found], last)

    async def show(self, request: Request, saga_id: UUID) -> HTTPResponse:
        """Return a saga."""
        state, wait = await self.service.find(saga_id), headers.preferred_wait(request)
        if wait is None:
            return answer(self._shapes.show(state))
        return answer(self._shapes.show(await self.service.wait(state, wait)), 200, _APPLIED)

    async def follow_all(self, request: Request) -> HTTPResponse | None:
        """Follow sagas: tell each change as it is made, as a server-sent event."""
        after = streams.read_place(streams.last_event_id(request))
        return await streams.stream(
            request, self.service.events.of_all(self.service.saga.name, after)
        )

    async def follow(self, request: Request, saga_id: UUID) -> HTTPResponse | None:
        """Follow a saga until it has ended: tell its history so far, and each change as it is made.

        The events are as those of all sagas; their ids are the `index` in their data. Where nothing
        is left to tell, the answer is 204.
        """
        after = streams.read_index(streams.last_event_id(request))
        state = await self.service.find(saga_id)
        return await streams.stream(request, self.service.events.of_one(state, after))

    async def cancel(self, _: Request, saga_id: UUID) -> HTTPResponse:
        """Cancel a saga: what was done is undone."""
        return self._accepted(await self.service.cancel(saga_id))

    async def retry(self, _: Request, saga_id: UUID) -> HTTPResponse:
        """Try the failed undos of a FAILED saga again, or take up one that was UNREADABLE."""
        return self._accepted(await self.service.retry(saga_id))

    async def skip(self, request: Request, saga_id: UUID) -> HTTPResponse:
        """Record that a person has done a failed undo by hand, and go on."""
        done = read(request, Skip)
        return self._accepted(await self.service.skip(saga_id, done.step, done.by, done.reason))

    def describe(self, name: str, summary: str) -> None:
        """Describe the operations, each by a name that no other saga's has."""
        shapes, shown = self._shapes, self._shapes.shown
        describe(
            {200: shown, 202: shown},
            body=shapes.body,
            errors=(KEY_REUSED,),
            headers=START_HEADERS,
            response_headers=ACCEPTED | APPLIED,
            links={f"{verb}_{name}": SAGA_ID for verb in ("show", "cancel", "retry", "skip")},
            name=f"start_{name}",
            summary=summary,
        )(self.start)
        describe(
            {200: list[shown]},  # type: ignore[valid-type]
            query=shapes.page,
            response_headers={"Link": "The next page."},
            name=f"list_{name}",
        )(self.list)
        describe(
            {200: shown}, errors=(404,), headers=WAIT, response_headers=APPLIED, name=f"show_{name}"
        )(self.show)
        describe(
            {200: SagaEvent},
            query=streams.Following,
            headers=SEEN,
            content=streams.MEDIA_TYPE,
            name=f"follow_all_{name}",
        )(self.follow_all)
        describe(
            {200: SagaEvent, 204: None},
            errors=(404,),
            query=streams.Following,
            headers=SEEN,
            content=streams.MEDIA_TYPE,
            name=f"follow_{name}",
        )(self.follow)
        for handler, verb, body, refusal in (
            (self.cancel, "cancel", None, SAGA_ENDED),
            (self.retry, "retry", None, SAGA_NOT_FAILED),
            (self.skip, "skip", Skip, NO_FAILED_UNDO),
        ):
            describe(
                {202: shown},
                body=body,
                errors=(404, refusal, SAGA_UNREADABLE, SAGA_OUTDATED),
                response_headers=ACCEPTED,
                name=f"{verb}_{name}",
            )(handler)

    def _accepted(
        self, state: SagaState, status: int = 202, more: dict[str, str] | None = None
    ) -> HTTPResponse:
        told = {"Location": f"{self._path}/{state.id}", **(more or {})}
        if status == HTTPStatus.ACCEPTED:
            told |= RETRY_AFTER
        return answer(self._shapes.show(state), status, told)


_APPLIED = {"Preference-Applied": "wait"}
