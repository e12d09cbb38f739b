"""The app that all adapters share: limits, errors, health, the database and the docs."""

import asyncio
import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import cache, partial
from typing import Any, TypeAlias

import peewee
from pydantic import BaseModel
from sanic import Blueprint, HTTPResponse, Request, Sanic
from sanic.response import BaseHTTPResponse

from ..database.connection import connect
from ..database.schema import Table, bind
from ..errors import BrokerUnavailable, SagaError
from ..settings import Settings
from . import access_log, openapi, request
from .cross_origin import refuse_cross_origin
from .docs import docs
from .fields import path_id
from .known_host import refuse_unknown_hosts
from .measured import measure
from .payload import MEDIA_TYPE, answer
from .problems import ProblemHandler, Unavailable
from .routes import add
from .saga_events import SagaEvents
from .threads import DatabaseThreads

App: TypeAlias = Sanic[Any, Any]

DISCARDED = 1024**3  # bytes of a body that nobody reads; then the connection is cut
CHECK_TIMEOUT = 5.0  # seconds
CHECKED_FOR = 1.0  # seconds that what a check has said is good for

_numbers = itertools.count(1)


class Health(BaseModel):
    """The service and what it needs are there."""

    status: str = "ok"


def new_app(
    service: str, settings: Settings, tables: Iterable[type[Table]], *apis: Blueprint
) -> App:
    """Make a service's app: its APIs, on its tables in its database."""
    # Two apps in one process, as in tests, need two names.
    app: App = _Sanic(
        f"{service}-{next(_numbers)}",
        configure_logging=False,
        error_handler=ProblemHandler(),
        request_class=request.Request,
    )
    _configure(app)
    app.ctx.service, app.ctx.settings = service, settings
    app.ctx.sending = list  # what becomes of messages that are handed to the broker
    app.ctx.checks = {"database": Check(lambda: app.ctx.threads.ask())}

    @app.before_server_start
    async def open_database(app: App) -> None:
        app.ctx.problem_types = openapi.types_of(app)
        app.ctx.document = cache(partial(_document, app))
        app.ctx.threads = DatabaseThreads(connect(settings.database_url(service)))
        app.ctx.events = SagaEvents(app.ctx.threads)
        await app.ctx.threads.run(bind, app.ctx.threads.database, tables)

    @app.before_server_stop
    async def end_streams(app: App) -> None:
        app.ctx.events.end()

    @app.after_server_stop
    async def close_database(app: App) -> None:
        await asyncio.to_thread(app.ctx.threads.close)

    # After the database's listeners: those of the APIs need it at start and until the end.
    app.router.register_pattern("id", path_id, r"[^/]+")
    app.blueprint([*apis, docs])
    add(app, get_health, "/health")
    add(app, get_live, "/health/live")
    add(app, get_ready, "/health/ready")
    add(app, get_document, "/openapi.json")
    measure(app, service, settings)
    app.register_middleware(access_log.begin, "request")
    app.register_middleware(refuse_unknown_hosts, "request")
    app.register_middleware(refuse_cross_origin, "request")
    app.register_middleware(_harden, "response")
    if settings.saga_access_log:
        app.register_middleware(access_log.write, "response")
    return app


class _Sanic(Sanic[Any, Any]):
    """Ends with no request whose handler, or whose body's validator, exits."""

    async def handle_request(self, request: Request) -> None:
        """Answer a request; one that would end the process has failed."""
        try:
            await super().handle_request(request)
        except SystemExit as ending:
            raise SagaError(f"{request.method} {request.path} raised SystemExit") from ending


@openapi.describe({200: Health})
async def get_health(request: Request) -> HTTPResponse:
    """Tell whether the service and what it needs are there."""
    return await _well(request, request.app.ctx.checks)


@openapi.describe({200: Health})
async def get_live(_: Request) -> HTTPResponse:
    """Answer, which is all that a process has to do that need not be started again."""
    return answer(Health())


@openapi.describe({200: Health})
async def get_ready(request: Request) -> HTTPResponse:
    """Tell whether requests can be served. The orchestrator's can while the broker is away."""
    return await _well(request, ["database"])


@openapi.describe({200: dict[str, Any]})
async def get_document(request: Request) -> HTTPResponse:
    """Return this document."""
    return HTTPResponse(await asyncio.to_thread(request.app.ctx.document), content_type=MEDIA_TYPE)


def _document(app: App) -> str:
    from .document import document

    return document(app, f"Saga Functions: {app.ctx.service}")


async def _well(request: Request, names: Iterable[str]) -> HTTPResponse:
    checks: dict[str, Check] = request.app.ctx.checks
    alive = await asyncio.gather(*(checks[name]() for name in names))
    if away := [name for name, well in zip(names, alive, strict=True) if not well]:
        raise Unavailable(away)
    return answer(Health())


class Check:
    """Asks for a sign of life, once for all who want to know within a second."""

    def __init__(self, ask: Callable[[], Awaitable[object]]) -> None:
        self._ask = ask
        self._asked_at = -CHECKED_FOR
        self._asking: asyncio.Future[bool] | None = None

    async def __call__(self) -> bool:
        """Return whether there was one."""
        if self._asking is None or (
            self._asking.done() and time.monotonic() - self._asked_at >= CHECKED_FOR
        ):
            self._asked_at = time.monotonic()
            self._asking = asyncio.ensure_future(self._is_alive())
        # One who goes away must not take the answer along that others wait for.
        return await asyncio.shield(self._asking)

    async def _is_alive(self) -> bool:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT):
                await self._ask()
        except (peewee.PeeweeException, BrokerUnavailable, TimeoutError):
            return False
        return True


def _configure(app: App) -> None:
    app.config.update(
        AUTO_EXTEND=False,  # sanic-ext would bring a docs page of its own, from a CDN
        MOTD=False,
        REQUEST_MAX_SIZE=DISCARDED,
    )
    # At INFO Sanic says three lines a start.
    logging.getLogger("sanic").setLevel(logging.WARNING)


async def _harden(_: Request, response: BaseHTTPResponse) -> None:
    response.headers["X-Content-Type-Options"] = "nosniff"
