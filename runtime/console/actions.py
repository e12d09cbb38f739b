"""Acting on all sagas that pass a filter: which, the progress meanwhile, and the record after."""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import peewee
from sanic import Blueprint, HTTPResponse, Request, redirect
from sanic.exceptions import NotFound
from uuid_utils.compat import uuid7

from .. import saga_queries
from ..clock import utcnow
from ..database.columns import Instant
from ..database.schema import Table, bind
from ..errors import first_line
from ..intervention import BY_LIMIT
from ..web.app import App
from ..web.problems import Invalid, meant
from ..web.threads import DatabaseThreads, in_thread
from . import guard
from .assets import ROOT
from .filters import Filter, read_filter
from .pages import READ, Pages

log = logging.getLogger(__name__)

MOST = 1_000  # sagas that are acted on at once
LOOKS = 20  # parts of the list that are read to find them
SHOWN = 50  # records in the list
EVERY = 20  # sagas, after which the record is written
SILENT = timedelta(seconds=30)  # after which nobody goes on with it
# Of which status a saga has to be: of one that changes meanwhile, it is told why it was not done.
VERBS = {"cancel": "RUNNING", "retry": "FAILED", "skip": "FAILED"}


class ActionRow(Table):
    """What a person has asked of many sagas; `refused` counts by reason, as JSON."""

    id = peewee.CharField(max_length=36, primary_key=True)
    verb = peewee.CharField(max_length=12)
    by = peewee.CharField(max_length=BY_LIMIT)
    filter = peewee.TextField()
    sagas = peewee.IntegerField()
    done = peewee.IntegerField(default=0)
    refused = peewee.TextField(default="{}")
    began_at = Instant()
    updated_at = Instant()
    ended_at = Instant(null=True)

    class Meta:
        """peewee's settings."""

        table_name = "console_action"

    @property
    def why_not(self) -> dict[str, int]:
        """How many were not done, by reason."""
        counts: dict[str, int] = json.loads(self.refused)
        return counts

    @property
    def goes_on(self) -> bool:
        """Whether somebody is still at it."""
        return self.ended_at is None and utcnow() - self.updated_at < SILENT


class Actions:
    """The handlers of the pages of actions."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._running: set[asyncio.Task[None]] = set()

    def add_to(self, console: Blueprint) -> None:
        """Add the routes of these pages."""
        console.listener("before_server_start")(self._open)
        console.add_route(self.index, "/actions", methods=READ, name="actions")
        console.add_route(self.show, "/actions/<action_id:uuid>", methods=READ, name="action")
        for verb in VERBS:
            path, ask, begin = f"/actions/{verb}", partial(self.ask, verb=verb), self.begin
            console.add_route(ask, path, methods=READ, name=f"ask_{verb}")
            console.add_route(partial(begin, verb=verb), path, methods=["POST"], name=f"all_{verb}")

    async def index(self, request: Request) -> HTTPResponse:
        """List what was done, the newest first."""
        newest = ActionRow.select().order_by(ActionRow.id.desc()).limit(SHOWN)
        found = await in_thread(request, list, newest)
        return self._pages.page(request, "actions.html", found=found)

    async def show(self, request: Request, action_id: UUID) -> HTTPResponse:
        """Show one action, as far as it is."""
        found = await in_thread(request, ActionRow.get_or_none, ActionRow.id == str(action_id))
        if found is None:
            raise NotFound(f"no action {action_id}")
        return self._pages.page(request, "action.html", action=found)

    async def ask(self, request: Request, verb: str) -> HTTPResponse:
        """Show how many sagas it would be, and ask who wants it."""
        asked = read_filter(request.args, self._pages.apis)
        found = [] if asked.wrong else await self._passing(request, asked, VERBS[verb])
        return self._pages.page(request, "ask.html", verb=verb, asked=asked, found=found, most=MOST)

    async def begin(self, request: Request, verb: str) -> HTTPResponse:
        """Begin to act on the sagas that were shown, those and no others."""
        form = {name: values[0].strip() for name, values in (request.form or {}).items()}
        self._pages.check_act(request, form.get(guard.FIELD, ""))
        if not form.get("by"):
            raise Invalid({"by": "who wants it has to be told"})
        sagas = _ids(form.get("sagas", ""))[:MOST]
        row = ActionRow(
            id=str(uuid7()),
            verb=verb,
            by=form["by"][:BY_LIMIT],
            filter=form.get("filter", ""),
            sagas=len(sagas),
            began_at=utcnow(),
            updated_at=utcnow(),
        )
        await in_thread(request, row.save, force_insert=True)
        task = asyncio.create_task(self._run(request.app.ctx.threads, row, verb, sagas, form))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return redirect(f"{ROOT}/actions/{row.id}", status=303)

    async def _run(
        self,
        threads: DatabaseThreads,
        row: Any,
        verb: str,
        sagas: Sequence[str],
        form: Mapping[str, str],
    ) -> None:
        refused: Counter[str] = Counter()
        for number, saga_id in enumerate(sagas, 1):
            try:
                state = await threads.run(saga_queries.find, threads.database, saga_id)
                await self._pages.act_on(state, verb, form)
                row.done += 1
            except Exception as error:
                refused[_why(error)] += 1
            if number % EVERY == 0:
                await self._write(threads, row, refused)
        row.ended_at = utcnow()
        await self._write(threads, row, refused)
        told = "%s: %s of %d sagas (%s): %d done, not: %s"
        log.info(told, row.by, verb, row.sagas, row.filter or "all", row.done, dict(refused))

    async def _write(self, threads: DatabaseThreads, row: Any, refused: Counter[str]) -> None:
        row.refused, row.updated_at = json.dumps(refused), utcnow()
        try:
            await threads.run(row.save)
        except Exception as error:  # the action goes on without its record, which the log has
            log.warning("action %s can't be recorded: %s", row.id, first_line(error))

    async def _passing(self, request: Request, asked: Filter, status: str) -> list[str]:
        """Return the ids of the sagas that pass, of this status, at most one more than `MOST`."""
        found: list[str] = []
        if asked.status not in (None, status):
            return found
        asked.status, asked.after = status, None
        for _ in range(LOOKS):
            more, asked.after = await self._pages.look(request, asked, MOST + 1 - len(found))
            found += [state.id for state in more]
            if asked.after is None or len(found) > MOST:
                break
        return found

    async def _open(self, app: App) -> None:
        threads: DatabaseThreads = app.ctx.threads
        await threads.run(bind, threads.database, [ActionRow])


def _why(error: Exception) -> str:
    """Say why a saga was not acted on, in the same words for each."""
    known: Any = meant(error)
    if known is None:
        log.error("an action failed", exc_info=error)
        return "something went wrong; it is in the log"
    problem_type = getattr(known, "problem_type", None)
    return problem_type.title if problem_type is not None else str(known)


def _ids(text: str) -> list[str]:
    """Return the ids in a form; raise `Invalid` where one is none."""
    try:
        return list(dict.fromkeys(str(UUID(word)) for word in text.split()))
    except ValueError:
        raise Invalid({"sagas": "are not ids of sagas"}) from None
