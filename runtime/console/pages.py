"""The console's pages of sagas: the list, one saga, and what a person does to it."""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, get_args
from uuid import UUID

from pydantic import BaseModel
from sanic import Blueprint, HTTPResponse, Request, redirect
from sanic.exceptions import Forbidden, SanicException

from .. import errors, saga_changes, saga_queries
from ..clock import utcnow
from ..database.connection import UNAVAILABLE as DATABASE_UNAVAILABLE
from ..explanation import explain
from ..intervention import BY_LIMIT, REASON_LIMIT
from ..saga_history import histories
from ..saga_state import SagaState, SagaStatus
from ..secret_fields import without_secrets
from ..settings import Settings
from ..web import streams
from ..web.payload import answer
from ..web.problems import Busy, meant
from ..web.routes import READ, add
from ..web.saga_service import SagaService
from ..web.sagas import SagaApi
from ..web.threads import in_thread
from . import guard
from .as_test import as_test
from .assets import ROOT, get_asset
from .filters import Filter, read_filter
from .rendering import render
from .timeline import bars, timeline, totals

log = logging.getLogger(__name__)

PAGE = 50  # sagas
DONE = {
    "cancel": "It is being cancelled: what was done is undone.",
    "retry": "Its failed undos are tried again.",
    "skip": "Recorded as done by hand.",
}


class Age(BaseModel):
    """How old what is shown may be, in seconds."""

    held: float | None


class Pages:
    """The handlers of one app's console."""

    def __init__(self, settings: Settings, apis: Mapping[str, SagaApi], service: str) -> None:
        self._settings = settings
        self.apis = apis
        self._service = service
        self.acts = settings.saga_console == "on"
        # Where they are is known to who knows a broker.
        self.letters_known = settings.kafka_bootstrap_servers is not None

    def add_to(self, console: Blueprint) -> None:
        """Add the routes of these pages."""
        one = "/sagas/<saga_id:uuid>"
        add(console, self.index, "/", name="index")
        add(console, self.show, one, name="show")
        for verb in DONE:
            act = partial(self.act, verb=verb)
            add(console, act, f"{one}/{verb}", ["POST"], name=verb)
        add(console, self.follow, "/events", name="follow")
        add(console, self.tell_age, "/age", name="age")
        add(console, get_asset, "/static/<name:str>", name="asset")
        console.middleware("request")(self._check)
        console.exception(Exception)(self._explain)

    async def index(self, request: Request) -> HTTPResponse:
        """Show a page of sagas, the newest first."""
        asked = read_filter(request.args, self.apis)
        found, last = ([], None) if asked.wrong else await self.look(request, asked, PAGE)
        found = [self.shown(state) for state in found]
        return self.page(
            request,
            "sagas.html",
            422 if asked.wrong else 200,
            asked=asked,
            found=found,
            last=last,
            names=sorted(self.apis),
            statuses=get_args(SagaStatus),
        )

    async def follow(self, request: Request) -> HTTPResponse | None:
        """Tell what becomes of sagas, for one worker that all tabs of a browser share."""
        after = streams.read_place(streams.last_event_id(request))
        return await streams.stream(request, request.app.ctx.events.of_all(None, after))

    async def tell_age(self, request: Request) -> HTTPResponse:
        """Tell for how many seconds changes are held back; null where the database does not say."""
        request.ctx.by_itself = True  # every other second
        try:
            held = await in_thread(
                request, saga_changes.held_since, request.app.ctx.threads.database
            )
        except (*DATABASE_UNAVAILABLE, Busy):
            return answer(Age(held=None))
        return answer(Age(held=(utcnow() - held).total_seconds() if held else 0.0))

    async def show(self, request: Request, saga_id: UUID) -> HTTPResponse:
        """Show one saga."""
        did = DONE.get(request.args.get("did", ""), "")
        return await self._saga(request, str(saga_id), 200, did=did)

    async def act(self, request: Request, saga_id: UUID, verb: str) -> HTTPResponse:
        """Do what a person asks of one saga, and show it; where it is refused, say why."""
        form = given(request.form or {})
        self.check_act(request, form.get(guard.FIELD, ""))
        state = await self._find(request, str(saga_id))
        try:
            await self.act_on(state, verb, form)
        except (errors.Conflict, SanicException) as error:
            known = meant(error)
            if known is None or known.status_code != 409:
                raise
            return await self._saga(request, str(saga_id), 409, refused=str(error))
        return redirect(f"{ROOT}/sagas/{saga_id}?did={verb}", status=303)

    def check_act(self, request: Request, token: str) -> None:
        """Raise `Forbidden` where nobody may act, or this was not sent by a person's page."""
        if not self.acts:
            raise Forbidden("this console is read-only")
        guard.check_sender(request, token)

    def page(self, request: Request, name: str, status: int = 200, **values: Any) -> HTTPResponse:
        """Answer with a page."""
        token = guard.token_of(request)
        text = render(
            name,
            acts=self.acts,
            token=token,
            service=self._service,
            letters_known=self.letters_known,
            now=utcnow(),
            **values,
        )
        response = HTTPResponse(text, status, guard.HEADERS, "text/html; charset=utf-8")
        if self.acts:
            guard.give_token(response, token)
        return response

    async def act_on(self, state: SagaState, verb: str, form: Mapping[str, str]) -> None:
        """Do what is asked of one saga; raise `Conflict`, ours or Sanic's, where it is refused."""
        api = self.apis.get(state.name)
        if api is None:
            raise errors.Conflict(f"{self._service} hosts no saga {state.name} any more")
        service: SagaService = api.service
        saga_id = UUID(state.id)
        if verb == "skip":
            by, reason = form.get("by", "")[:BY_LIMIT], form.get("reason", "")[:REASON_LIMIT]
            await service.skip(saga_id, form.get("step", ""), by, reason)
        else:
            await (service.cancel if verb == "cancel" else service.retry)(saga_id)

    def shown(self, state: SagaState) -> SagaState:
        """Return a saga without what nobody is shown."""
        api = self.apis.get(state.name)
        return without_secrets(state, api.service.saga if api else None)

    async def _find(self, request: Request, saga_id: str) -> SagaState:
        database = request.app.ctx.threads.database
        return await in_thread(request, saga_queries.find, database, saga_id)

    async def _saga(
        self, request: Request, saga_id: str, status: int, did: str = "", refused: str = ""
    ) -> HTTPResponse:
        database = request.app.ctx.threads.database
        state = self.shown(await self._find(request, saga_id))
        moments = (await in_thread(request, histories, database, [state]))[saga_id]
        told = timeline(state, moments, utcnow())
        api = self.apis.get(state.name)
        host = f"{request.scheme}://{request.headers.get('host', '')}"
        return self.page(
            request,
            "saga.html",
            status,
            state=state,
            moments=moments,
            told=told,
            rows=list(zip(told.attempts, bars(told.attempts), strict=True)),
            totals=list(totals(told.attempts)),
            curl=f"curl {host}{api.path}/{state.id}" if api else "",
            test=as_test(api.service.saga, state, told) if api and state.steps else "",
            trace=(state.traceparent or "").split("-")[1:2],
            explained=explain(state, api.service.saga if api else None, utcnow()),
            hosted=api is not None,
            did=did,
            refused=refused,
        )

    async def look(
        self, request: Request, asked: Filter, limit: int
    ) -> tuple[list[SagaState], str | None]:
        """Find sagas that pass, the newest first, as `saga_queries.look` does."""
        return await in_thread(
            request,
            saga_queries.look,
            request.app.ctx.threads.database,
            limit,
            asked.after,
            asked.status,
            newest=True,
            saga=asked.saga,
            search=asked.search,
            ids=asked.ids,
        )

    async def _check(self, request: Request) -> None:
        guard.check_host(request, self._settings)
        # A page that is looked at asks for itself again, as htmx says.
        request.ctx.by_itself = request.method in READ and "hx-request" in request.headers

    async def _explain(self, request: Request, exception: Exception) -> HTTPResponse:
        """Answer what goes wrong with a page; what nobody meant is logged, and not shown."""
        known = meant(exception)
        if known is None or known.status_code == 500:
            log.error("%s %s failed", request.method, request.path, exc_info=exception)
            why = "Something went wrong here; it has been logged."
            return self.page(request, "problem.html", 500, why=why)
        return self.page(request, "problem.html", known.status_code, why=_told(known))


def given(fields: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return what a form or a query has, by name; what is empty is left out."""
    # PostgreSQL takes no text with a NUL.
    found = {name: values[0].replace("\0", "").strip() for name, values in fields.items()}
    return {name: value for name, value in found.items() if value}


def _told(known: SanicException) -> str:
    wrong = (known.context or {}).get("errors", {})
    return "; ".join(f"{name} {why}" for name, why in wrong.items()) or str(known)
