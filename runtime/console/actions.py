"""Acting on all sagas that pass a filter: which, the progress meanwhile, and the record after."""

from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from sanic import Blueprint, HTTPResponse, Request, redirect
from sanic.exceptions import NotFound

from .. import saga_queries
from ..database.schema import bind
from ..web.app import App
from ..web.completion import begin, complete
from ..web.problems import Invalid
from ..web.routes import add
from ..web.threads import DatabaseThreads, in_thread
from . import action_record, guard
from .action_record import ActionRow, Asked
from .assets import ROOT
from .filters import Filter, read_filter
from .pages import Pages, given

MOST = 1_000  # sagas that are acted on at once
LOOKS = 20  # parts of the list that are read to find them
SHOWN = 50  # records in the list
# Of which status a saga has to be: of one that changes meanwhile, it is told why it was not done.
VERBS = {"cancel": "RUNNING", "retry": "FAILED", "skip": "FAILED"}


class Actions:
    """The handlers of the pages of actions."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    def add_to(self, console: Blueprint) -> None:
        """Add the routes of these pages."""
        console.listener("before_server_start")(self._open)
        add(console, self.index, "/actions", name="actions")
        add(console, self.show, "/actions/<action_id:uuid>", name="action")
        for verb in VERBS:
            path, ask, begin = f"/actions/{verb}", partial(self.ask, verb=verb), self.begin
            add(console, ask, path, name=f"ask_{verb}")
            add(console, partial(begin, verb=verb), path, ["POST"], name=f"all_{verb}")

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
        form = given(request.form or {})
        self._pages.check_act(request, form.get(guard.FIELD, ""))
        check_who(form)
        sagas = _ids(form.get("sagas", ""))[:MOST]
        outcomes = self._outcomes(request.app.ctx.threads, verb, sagas, form)
        asked = Asked(verb, "saga", form["by"], form.get("filter", ""), len(sagas))
        return await self.start(request, asked, outcomes)

    async def start(
        self, request: Request, asked: Asked, outcomes: AsyncIterator[str]
    ) -> HTTPResponse:
        """Record what begins, let it go on by itself, and lead to its record."""
        row = await complete(_start(request.app.ctx.threads, asked, outcomes))
        return redirect(f"{ROOT}/actions/{row.id}", status=303)

    async def _outcomes(
        self, threads: DatabaseThreads, verb: str, sagas: Sequence[str], form: Mapping[str, str]
    ) -> AsyncIterator[str]:
        for saga_id in sagas:
            try:
                state = await threads.run(saga_queries.find, threads.database, saga_id)
                await self._pages.act_on(state, verb, form)
                yield ""
            except Exception as error:
                yield action_record.why_not(error)

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


async def _start(threads: DatabaseThreads, asked: Asked, outcomes: AsyncIterator[str]) -> Any:
    row = await threads.run(action_record.add, asked)
    begin(action_record.carry_out(threads, row, outcomes))
    return row


def check_who(form: Mapping[str, str]) -> None:
    """Raise `Invalid` where a form does not say who wants what it asks for."""
    if not form.get("by"):
        raise Invalid({"by": "who wants it has to be told"})


def _ids(text: str) -> list[str]:
    """Return the ids in a form; raise `Invalid` where one is none."""
    try:
        return list(dict.fromkeys(str(UUID(word)) for word in text.split()))
    except ValueError:
        raise Invalid({"sagas": "are not ids of sagas"}) from None
