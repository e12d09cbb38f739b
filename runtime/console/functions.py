"""The console's pages of functions and sagas' hosts: the list, and one of them."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

from sanic import Blueprint, HTTPResponse, Request

from .. import saga_queries
from ..deploy import history
from ..deploy.artifact import SHOWN
from ..deploy.compose_project import service_name
from ..deploy.history import Deployment
from ..deploy.store import open_store
from ..errors import NotFound, SagaError, first_line
from ..secrets import without_logins
from ..settings import Settings
from ..system.log_reader import last_lines, log_file, log_names
from ..system.logs import cut, escaped, hidden
from ..system.saga_log import Dated, dated
from ..web.app import App
from ..web.routes import add
from ..web.threads import in_thread
from .deployed import Deployed, read_deployed, reads
from .kept import Kept
from .looks import Look, Looks
from .pages import Pages
from .sparkline import sparkline

PATIENCE = 0.1  # seconds that a page waits for what takes a while
KEPT_FOR = 10.0  # seconds
MOST_SAGAS = 10_000  # of one declaration that are counted
MOST_DEPLOYS, MOST_LINES, MOST_LOGS = 10, 50, 8
LONGEST_LINE = 600  # characters

Deployments = list[Deployment] | str  # or why they are not known


class Seen(NamedTuple):
    """What is known at a moment; where `runs`, that of the system on the data directory."""

    runs: bool
    deployed: dict[str, Deployed]
    look: Look


class Functions:
    """The handlers of the pages of functions."""

    def __init__(self, settings: Settings, pages: Pages) -> None:
        self._settings, self._pages = settings, pages
        self._sagas = [api.service.saga for api in pages.apis.values()]
        self._reads = {name: read for saga in self._sagas for name, read in reads(saga).items()}
        self._looks = Looks(settings, self._reads)
        self._histories: dict[str, Kept[Deployments]] = {}

    def add_to(self, console: Blueprint) -> None:
        """Add the routes of these pages."""
        add(console, self.index, "/functions", name="functions")
        add(console, self.show, "/functions/<name:str>", name="function")
        console.listener("after_server_stop")(self._close)

    async def index(self, request: Request) -> HTTPResponse:
        """List functions and sagas' hosts."""
        seen = await asyncio.to_thread(self._see)
        left = await self._left(request, seen.deployed.values())
        return self._pages.page(request, "functions.html", **self._told(seen), left=left)

    async def show(self, request: Request, name: str) -> HTTPResponse:
        """Show one of them."""
        seen = await asyncio.to_thread(self._see)
        if name not in seen.deployed:
            there = ", ".join(seen.deployed) or "none"
            raise NotFound(f"no function or saga {name} here; there are: {there}")
        one = seen.deployed[name]
        return self._pages.page(
            request,
            "function.html",
            **self._told(seen),
            one=one,
            numbers=seen.look.of(name),
            topics=one.topics or self._reads.get(one.entry, ()),
            container=service_name(name),
            left=await self._left(request, [one]),
            history=await asyncio.to_thread(self._history, name) if seen.runs else None,
            lines=await asyncio.to_thread(self._log, name) if seen.runs else None,
        )

    def _told(self, seen: Seen) -> dict[str, Any]:
        now, past = time.monotonic(), seen.look.past
        return {
            "seen": seen,
            "shown": SHOWN,
            "most_sagas": MOST_SAGAS,
            "rates": {n: sparkline([(p.at, p.rate) for p in past[n]], now) for n in past},
            "lags": {n: sparkline([(p.at, p.lag) for p in past[n]], now) for n in past},
        }

    def _see(self) -> Seen:
        look = self._looks.get(time.monotonic() + PATIENCE)
        system, deployed = read_deployed(self._settings)
        return Seen(system is not None, deployed, look)

    async def _left(self, request: Request, some: Iterable[Deployed]) -> Mapping[str, int]:
        """Count the open sagas that need what drains, by its name; others are not in it."""
        drains = [one for one in some if any(version.drains for version in one.versions)]
        left = {}
        for one in drains:
            sagas = [saga for saga in self._sagas if one.entry in reads(saga)]
            database = request.app.ctx.threads.database
            counts = [
                await in_thread(request, saga_queries.in_flight, database, saga, MOST_SAGAS)
                for saga in sagas
            ]
            if sagas:
                left[one.name] = sum(counts)
        return left

    def _history(self, name: str) -> Deployments | None:
        kept = self._histories.get(name)
        if kept is None:
            ask = partial(self._read_history, name)
            kept = self._histories.setdefault(name, Kept(ask, KEPT_FOR))
        return kept.get(time.monotonic() + PATIENCE)

    def _read_history(self, name: str) -> Deployments:
        on = self._settings.model_copy(update={"saga_target": "process"}).deployed_on
        try:
            return history.newest(open_store(self._settings.artifacts), on, name, MOST_DEPLOYS)
        except SagaError as error:
            return first_line(error)

    def _log(self, name: str) -> list[Dated]:
        """Return the last lines of a function's logs, without what is known to be secret."""
        data = self._settings.saga_data
        names = [one for one, of in log_names(data).items() if of == name][-MOST_LOGS:]
        lines = ((n, line) for n in names for line in last_lines(log_file(data, n), MOST_LINES))
        newest = sorted(dated(lines), key=lambda line: line.time)[-MOST_LINES:]
        return [line._replace(text=_shown(line.text)) for line in newest]

    async def _close(self, _: App) -> None:
        closing = [self._looks.close, *(kept.close for kept in self._histories.values())]
        await asyncio.gather(*map(asyncio.to_thread, closing))


def _shown(text: str) -> str:
    return cut(escaped(hidden(without_logins(text))), LONGEST_LINE)
