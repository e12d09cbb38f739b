"""The app that all adapters share: limits, errors, health, the database and the docs."""

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeAlias

import peewee
from pydantic import BaseModel
from sanic import Blueprint, HTTPResponse, Request, Sanic
from sanic.response import BaseHTTPResponse

from ..database.connection import connect
from ..database.schema import Table, bind
from ..errors import BrokerUnavailable
from ..settings import Settings
from . import openapi
from .docs import docs
from .fields import path_id
from .payload import MEDIA_TYPE, answer
from .problems import ProblemHandler, Unavailable
from .threads import DatabaseThreads

App: TypeAlias = Sanic[Any, Any]
Check: TypeAlias = Callable[[], Awaitable[object]]

READ = ("GET", "HEAD")
BODY_LIMIT = 1024 * 1024  # bytes
CHECK_TIMEOUT = 5.0  # seconds

_numbers = itertools.count(1)


class Health(BaseModel):
    """The service and what it needs are there."""

    status: str = "ok"


def new_app(
    service: str, settings: Settings, tables: Iterable[type[Table]], *apis: Blueprint
) -> App:
    """Make a service's app: its APIs, on its tables in its database."""
    # Two apps in one process, as in tests, need two names.
    app: App = Sanic(
        f"{service}-{next(_numbers)}", configure_logging=False, error_handler=ProblemHandler()
    )
    _configure(app)
    app.ctx.service, app.ctx.settings = service, settings
    app.ctx.checks = {"database": lambda: app.ctx.threads.ask()}

    @app.before_server_start
    async def open_database(app: App) -> None:
        app.ctx.document = openapi.document(app, f"Saga Functions: {service}")
        app.ctx.threads = DatabaseThreads(connect(settings.database_url(service)))
        await app.ctx.threads.run(bind, app.ctx.threads.database, tables)

    @app.after_server_stop
    async def close_database(app: App) -> None:
        await asyncio.to_thread(app.ctx.threads.close)

    # After the database's listeners: those of the APIs need it at start and until the end.
    app.router.register_pattern("id", path_id, r"[^/]+")
    app.blueprint([*apis, docs])
    app.add_route(get_health, "/health", methods=READ)
    app.add_route(get_document, "/openapi.json", methods=READ)
    app.register_middleware(_harden, "response")
    return app


@openapi.describe({200: Health})
async def get_health(request: Request) -> HTTPResponse:
    """Tell whether the service and what it needs are there."""
    checks: dict[str, Check] = request.app.ctx.checks
    alive = await asyncio.gather(*(_is_alive(check) for check in checks.values()))
    away = [name for name, well in zip(checks, alive, strict=True) if not well]
    if away:
        raise Unavailable(away)
    return answer(Health())


@openapi.describe({200: dict[str, Any]})
async def get_document(request: Request) -> HTTPResponse:
    """Return this document."""
    return HTTPResponse(request.app.ctx.document, content_type=MEDIA_TYPE)


async def _is_alive(check: Check) -> bool:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT):
            await check()
    except (peewee.PeeweeException, BrokerUnavailable, TimeoutError):
        return False
    return True


def _configure(app: App) -> None:
    app.config.update(
        AUTO_EXTEND=False,  # sanic-ext would bring a docs page of its own, from a CDN
        GRACEFUL_SHUTDOWN_TIMEOUT=5.0,
        MOTD=False,
        REQUEST_MAX_SIZE=BODY_LIMIT,
    )
    # At INFO Sanic says three lines a start.
    logging.getLogger("sanic").setLevel(logging.WARNING)


async def _harden(_: Request, response: BaseHTTPResponse) -> None:
    response.headers["X-Content-Type-Options"] = "nosniff"
