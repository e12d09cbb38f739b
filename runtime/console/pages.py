"""The console's pages of sagas: the list, one saga, and what a person does to it."""

from collections.abc import Mapping
from functools import partial
from typing import Any, get_args
from uuid import UUID

from sanic import Blueprint, HTTPResponse, Request, empty, redirect
from sanic.exceptions import Forbidden, SanicException

from .. import errors, saga_queries
from ..clock import utcnow
from ..explanation import explain
from ..intervention import BY_LIMIT, REASON_LIMIT
from ..saga_history import histories
from ..saga_state import SagaState, SagaStatus
from ..secret_fields import Kinds, classes_on, without_secrets
from ..settings import Settings
from ..web import streams
from ..web.problems import meant
from ..web.saga_service import SagaService
from ..web.sagas import SagaApi
from ..web.threads import in_thread
from . import guard
from .as_test import as_test
from .assets import ROOT, get_asset
from .filters import Filter, read_filter
from .rendering import render
from .timeline import bars, timeline, totals

PAGE = 50  # sagas
READ = ("GET", "HEAD")
DONE = {
    "cancel": "It is being cancelled: what was done is undone.",
    "retry": "Its failed undos are tried again.",
    "skip": "Recorded as done by hand.",
}


class Pages:
    """The handlers of one app's console."""

    def __init__(self, settings: Settings, apis: Mapping[str, SagaApi], service: str) -> None:
        self._settings = settings
        self._apis = apis
        self._service = service
        self.acts = settings.saga_console == "on"
        # Where they are is known to who knows a broker.
        self.letters_known = settings.kafka_bootstrap_servers is not None

    def add_to(self, console: Blueprint) -> None:
        """Add the routes of these pages."""
        one = "/sagas/<saga_id:uuid>"
        console.add_route(self.index, "/", methods=READ, name="index")
        console.add_route(self.show, one, methods=READ, name="show")
        for verb in DONE:
            act = partial(self.act, verb=verb)
            console.add_route(act, f"{one}/{verb}", methods=["POST"], name=verb)
        console.add_route(self.follow, "/events", methods=READ, name="follow")
        console.add_route(self.alive, "/alive", methods=READ, name="alive")
        console.add_route(get_asset, "/static/<name:str>", methods=READ, name="asset")
        console.middleware("request")(self._check)
        console.exception(Exception)(self._explain)

    async def index(self, request: Request) -> HTTPResponse:
        """Show a page of sagas, the newest first."""
        asked = read_filter(request.args, self._apis)
        found, last = ([], None) if asked.wrong else await self._look(request, asked)
        return self.page(
            request,
            "sagas.html",
            422 if asked.wrong else 200,
            asked=asked,
            found=found,
            last=last,
            names=sorted(self._apis),
            statuses=get_args(SagaStatus),
        )

    async def follow(self, request: Request) -> HTTPResponse | None:
        """Tell what becomes of sagas, for one worker that all tabs of a browser share."""
        after = streams.read_place(streams.last_event_id(request))
        return await streams.stream(request, request.app.ctx.events.of_all(None, after))

    async def alive(self, _: Request) -> HTTPResponse:
        """Answer, so that pages know that their connection is not lost."""
        return empty(204, guard.HEADERS)

    async def show(self, request: Request, saga_id: UUID) -> HTTPResponse:
        """Show one saga."""
        did = DONE.get(request.args.get("did", ""), "")
        return await self._saga(request, str(saga_id), 200, did=did)

    async def act(self, request: Request, saga_id: UUID, verb: str) -> HTTPResponse:
        """Do what a person asks of one saga, and show it; where it is refused, say why."""
        form = {name: values[0].strip() for name, values in (request.form or {}).items()}
        self.check_act(request, form.get(guard.FIELD, ""))
        state = await self._find(request, str(saga_id))
        try:
            await self._act(state, verb, form)
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

    def classes_on(self, topic: str) -> Kinds:
        """Return the classes of the sagas here that have to do with a topic."""
        return classes_on(topic, [api.service.saga for api in self._apis.values()])

    async def _act(self, state: SagaState, verb: str, form: Mapping[str, str]) -> None:
        api = self._apis.get(state.name)
        if api is None:
            raise errors.Conflict(f"{self._service} hosts no saga {state.name} any more")
        service: SagaService = api.service
        saga_id = UUID(state.id)
        if verb == "skip":
            by, reason = form.get("by", "")[:BY_LIMIT], form.get("reason", "")[:REASON_LIMIT]
            await service.skip(saga_id, form.get("step", ""), by, reason)
        else:
            await (service.cancel if verb == "cancel" else service.retry)(saga_id)

    async def _find(self, request: Request, saga_id: str) -> SagaState:
        database = request.app.ctx.threads.database
        return await in_thread(request, saga_queries.find, database, saga_id)

    async def _saga(
        self, request: Request, saga_id: str, status: int, did: str = "", refused: str = ""
    ) -> HTTPResponse:
        database = request.app.ctx.threads.database
        state = await self._find(request, saga_id)
        moments = (await in_thread(request, histories, database, [state]))[saga_id]
        told = timeline(state, moments, utcnow())
        api = self._apis.get(state.name)
        shown = without_secrets(state, api.service.saga if api else None)
        host = f"{request.scheme}://{request.headers.get('host', '')}"
        return self.page(
            request,
            "saga.html",
            status,
            state=shown,
            moments=moments,
            told=told,
            rows=list(zip(told.attempts, bars(told.attempts), strict=True)),
            totals=list(totals(told.attempts)),
            curl=f"curl {host}{api.path}/{state.id}" if api else "",
            test=as_test(api.service.saga, shown, told) if api and state.steps else "",
            trace=(state.traceparent or "").split("-")[1:2],
            explained=explain(state, api.service.saga if api else None, utcnow()),
            hosted=api is not None,
            did=did,
            refused=refused,
        )

    async def _look(self, request: Request, asked: Filter) -> tuple[list[SagaState], str | None]:
        return await in_thread(
            request,
            saga_queries.look,
            request.app.ctx.threads.database,
            PAGE,
            asked.after,
            asked.status,
            newest=True,
            saga=asked.saga,
            search=asked.search,
            ids=asked.ids,
        )

    async def _check(self, request: Request) -> None:
        guard.check_host(request, self._settings)

    async def _explain(self, request: Request, exception: Exception) -> HTTPResponse:
        """Answer what goes wrong with a page; what nobody meant is the app's own handler's."""
        known = meant(exception)
        if known is None or known.status_code == 500:
            raise exception
        return self.page(request, "problem.html", known.status_code, why=str(known))
