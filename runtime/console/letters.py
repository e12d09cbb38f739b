"""The console's pages of dead letters: the list, one of them, and replaying or dropping some."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from sanic import Blueprint, HTTPResponse, Request, redirect

from .. import saga_queries
from ..clock import utcnow
from ..dead_letter import GONE, DeadLetter, Mark, Origin, refusal
from ..errors import BrokerUnavailable, NotFound, first_line
from ..saga import Saga
from ..saga_state import SagaState
from ..secret_fields import HIDDEN, classes_on, hidden_text
from ..settings import Settings
from ..system.logs import cut
from ..web.app import App
from ..web.routes import add
from ..web.threads import DatabaseThreads, in_thread
from . import action_record, guard, open_letters
from .action_record import Asked
from .actions import Actions, check_who
from .assets import ROOT
from .open_letters import Only
from .pages import Pages, given

if TYPE_CHECKING:
    from ..kafka.reading import Reading

log = logging.getLogger(__name__)

PAGE = 50  # letters
COUNTED = 1_000  # letters; of more, a list does not say how many
READ_AT_ONCE = 2_000  # records of the broker's
WAIT = 0.2  # seconds until a page is shown without what is still to be read
PATIENCE = 5.0  # seconds until a letter that was not read counts as none
CHUNK = 100  # letters, of which an action has the records in memory: fewer, if they are large
SHOWN_BODY = 50_000  # characters
SHOWN_HEADER = 500  # characters
SHOWN_HEADERS = 100
HOME = f"{ROOT}/dead-letters"
VERBS: dict[str, Mark] = {"replay": "replayed", "drop": "dropped"}
DID = {"replay": "It is sent again.", "drop": "It is dropped."}


class Letters:
    """The handlers of the pages of dead letters."""

    def __init__(self, settings: Settings, pages: Pages, actions: Actions) -> None:
        self._settings = settings
        self._pages = pages
        self._actions = actions
        self._reading: asyncio.Task[None] | None = None
        self._left = 0  # records that are still to be read
        self._trouble = ""  # why they are not

    def add_to(self, console: Blueprint) -> None:
        """Add the routes of these pages."""
        one = "/dead-letters/<topic:str>/<partition:int>/<offset:int>"
        console.listener("before_server_start")(self._open)
        add(console, self.index, "/dead-letters", name="letters")
        add(console, self.show, one, name="letter")
        for verb in VERBS:
            path, ask, act = f"/dead-letters/{verb}", partial(self.ask, verb=verb), self.act
            add(console, ask, path, name=f"ask_{verb}_letters")
            act_so = partial(act, verb=verb)
            add(console, act_so, path, ["POST"], name=f"{verb}_letters")

    async def index(self, request: Request) -> HTTPResponse:
        """List a page of the open dead letters that pass the filter, the newest first."""
        asked = given(request.args)
        only = _filter(asked)
        standing = await self._catch_up(request)
        shown, last = await in_thread(
            request, open_letters.look, only, asked.get("after", ""), PAGE
        )
        count = await in_thread(request, open_letters.count, only, COUNTED + 1)
        return self._pages.page(
            request,
            "letters.html",
            shown=shown,
            last=last and f"{HOME}?{_query(only, after=last)}",
            newest=f"{HOME}?{_query(only)}" if asked.get("after") else "",
            count=f"more than {COUNTED}" if count > COUNTED else str(count),
            states=await self._states(request, [one.saga_id for one in shown]),
            only=only,
            query=_query(only),
            did=DID.get(asked.get("did", ""), ""),
            **standing,
        )

    async def show(self, request: Request, topic: str, partition: int, offset: int) -> HTTPResponse:
        """Show one dead letter."""
        return await self._show(request, f"{topic}/{partition}/{offset}")

    async def ask(self, request: Request, verb: str, status: int = 200) -> HTTPResponse:
        """Show how many dead letters it would be, and ask who wants it."""
        only = _filter(given(request.args or request.form or {}))
        await self._catch_up(request)
        count = await in_thread(request, open_letters.count, only)
        return self._pages.page(
            request,
            "ask_letters.html",
            status,
            verb=verb,
            only=only,
            count=count,
            changed=status == 409,
            home=f"{HOME}?{_query(only)}",
        )

    async def act(self, request: Request, verb: str) -> HTTPResponse:
        """Replay or drop one dead letter, or begin to do so with all that pass a filter."""
        form = given(request.form or {})
        self._pages.check_act(request, form.get(guard.FIELD, ""))
        if letter_id := form.get("id"):
            return await self._act_on_one(request, verb, letter_id)
        check_who(form)
        only, threads = _filter(form), request.app.ctx.threads
        ids = await threads.run(open_letters.all_ids, only)
        if str(len(ids)) != form.get("count"):  # others than were shown: they are shown now
            return await self.ask(request, verb, 409)
        asked = Asked(verb, "dead letter", form["by"], _query(only), len(ids))
        return await self._actions.start(request, asked, self._outcomes(threads, verb, ids))

    async def _act_on_one(self, request: Request, verb: str, letter_id: str) -> HTTPResponse:
        letter = await self._find(request, letter_id)
        state = (await self._states(request, [letter.saga_id])).get(letter.saga_id or "")
        why = refusal(letter, state) if verb == "replay" else None
        if why is None:
            told = await self._close(request.app.ctx.threads, [letter], VERBS[verb])
            why = told.get(letter_id)
        if why is not None:
            return await self._show(request, letter_id, 409, refused=why)
        return redirect(f"{HOME}?did={verb}", status=303)

    async def _outcomes(
        self, threads: DatabaseThreads, verb: str, ids: Sequence[str]
    ) -> AsyncIterator[str]:
        for begin in range(0, len(ids), CHUNK):
            chunk, later = ids[begin : begin + CHUNK], ids[begin + CHUNK :]
            while chunk:
                try:
                    told = await self._act_on_some(threads, verb, chunk)
                except BrokerUnavailable as error:  # it would be waited for again and again
                    for _ in (*chunk, *later):
                        yield action_record.why_not(error)
                    return
                except Exception as error:
                    told = dict.fromkeys(chunk, action_record.why_not(error))
                for why in told.values():
                    yield why
                chunk = [letter_id for letter_id in chunk if letter_id not in told]

    async def _act_on_some(
        self, threads: DatabaseThreads, verb: str, ids: Sequence[str]
    ) -> dict[str, str]:
        """Replay or drop the first of some; return, of each of them, why it was not done, if so."""
        found = await asyncio.to_thread(self._fetch, ids)
        letters = [letter for letter in found.values() if letter is not None]
        gone = [letter_id for letter_id, letter in found.items() if letter is None]
        told = dict.fromkeys(found, "") | dict.fromkeys(gone, GONE)
        if verb == "replay":
            sagas = {letter.saga_id for letter in letters if letter.saga_id}
            known = await threads.run(saga_queries.find_many, threads.database, list(sagas))
            states = {state.id: state for state in known}
            for letter in letters:
                why = refusal(letter, states.get(letter.saga_id or "")) or ""
                told[letter.id] = why.partition(":")[0]  # in the same words for each
        done = [letter for letter in letters if not told[letter.id]]
        told |= await self._close(threads, done, VERBS[verb])
        await threads.run(open_letters.forget, gone)
        return told

    async def _show(
        self, request: Request, letter_id: str, status: int = 200, refused: str = ""
    ) -> HTTPResponse:
        letter = await self._find(request, letter_id)
        state = (await self._states(request, [letter.saga_id])).get(letter.saga_id or "")
        headers = [(name, _text(value)) for name, value in letter.record.headers[:SHOWN_HEADERS]]
        body = body_of(letter, [api.service.saga for api in self._pages.apis.values()])
        return self._pages.page(
            request,
            "letter.html",
            status,
            letter=letter,
            state=state,
            headers=[(cut(n, SHOWN_HEADER), cut(v, SHOWN_HEADER)) for n, v in headers],
            more_headers=len(letter.record.headers) - len(headers),
            body=cut(body, SHOWN_BODY),
            never=refusal(letter, state),
            refused=refused,
        )

    async def _find(self, request: Request, letter_id: str) -> DeadLetter:
        await self._catch_up(request)
        is_open = await in_thread(request, open_letters.is_open, letter_id)
        if not is_open:  # yet, perhaps
            await self._catch_up(request, PATIENCE)
            is_open = await in_thread(request, open_letters.is_open, letter_id)
        if is_open:
            found = await asyncio.to_thread(self._fetch, [letter_id])
            if letter := found.get(letter_id):
                return letter
            await in_thread(request, open_letters.forget, [letter_id])
        raise NotFound(f"no open dead letter {letter_id}: it was replayed or dropped, perhaps")

    async def _catch_up(self, request: Request, wait: float = WAIT) -> dict[str, Any]:
        """Let what is new on the broker be read; return what a page says of it."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read_on(request.app.ctx.threads))
        await asyncio.wait([self._reading], timeout=wait)
        return {
            "reading": not self._reading.done(),
            "left": self._left,
            "trouble": self._trouble,
        }

    async def _read_on(self, threads: DatabaseThreads) -> None:
        try:
            self._left = 1
            while self._left:
                read = await threads.run(open_letters.places)
                more = await asyncio.to_thread(self._read_more, read.places)
                await threads.run(open_letters.take_up, threads.database, read, more)
                self._left = more.left
            self._trouble = ""
        except Exception as error:
            self._trouble = action_record.why_not(error)
            log.warning("dead letters are not read: %s", first_line(error))

    async def _close(
        self, threads: DatabaseThreads, letters: Sequence[DeadLetter], what: Mark
    ) -> dict[str, str]:
        refused = await asyncio.to_thread(self._mark, letters, what)
        done = [letter.id for letter in letters if letter.id not in refused]
        await threads.run(open_letters.forget, done)
        return refused

    async def _states(
        self, request: Request, saga_ids: Iterable[str | None]
    ) -> dict[str, SagaState]:
        ids = list({saga_id for saga_id in saga_ids if saga_id})
        database = request.app.ctx.threads.database
        found = await in_thread(request, saga_queries.find_many, database, ids)
        return {state.id: state for state in found}

    async def _open(self, app: App) -> None:
        threads: DatabaseThreads = app.ctx.threads
        await threads.run(open_letters.open_rows, threads.database)

    # Importing Quix Streams takes a second, which tests and tools need not wait for.

    def _read_more(self, places: Mapping[Origin, int]) -> "Reading":
        from ..kafka.dead_letters import read_more

        return read_more(self._settings, places, READ_AT_ONCE)

    def _fetch(self, ids: Sequence[str]) -> dict[str, DeadLetter | None]:
        from ..kafka.dead_letters import fetch

        return fetch(self._settings, ids)

    def _mark(self, letters: Sequence[DeadLetter], what: Mark) -> dict[str, str]:
        from ..kafka.dead_letters import close

        return close(self._settings, letters, what, utcnow())


def _filter(asked: Mapping[str, str]) -> Only:
    return Only(*(asked.get(name) for name in Only._fields))


def _query(only: Only, **more: str) -> str:
    return urlencode({name: value for name, value in (only._asdict() | more).items() if value})


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode(errors="backslashreplace")


def body_of(dead_letter: DeadLetter, sagas: Iterable[Saga]) -> str:
    """Return the body of a record as it may be shown; the topic of none of the sagas is unknown."""
    text = (dead_letter.record.value or b"").decode(errors="backslashreplace")
    known = classes_on(dead_letter.record.topic, sagas)
    return hidden_text(known, text) if known or not text else HIDDEN
