"""The console's pages of dead letters: the list, one of them, and replaying or dropping some."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from urllib.parse import urlencode

from sanic import Blueprint, HTTPResponse, Request, redirect

from .. import saga_queries
from ..clock import utcnow
from ..dead_letter import DeadLetter, Mark, passing, refusal
from ..errors import NotFound
from ..saga import Saga
from ..saga_state import SagaState
from ..secret_fields import HIDDEN, classes_on, hidden_text
from ..settings import Settings
from ..web.threads import in_thread
from . import guard
from .assets import ROOT
from .pages import READ, Pages

SHOWN = 100  # in a list; what is done to those that pass a filter is done to all of them
PAGE = f"{ROOT}/dead-letters"
VERBS: dict[str, Mark] = {"replay": "replayed", "drop": "dropped"}


class Letters:
    """The handlers of the pages of dead letters."""

    def __init__(self, settings: Settings, pages: Pages) -> None:
        self._settings = settings
        self._pages = pages
        self._reading = asyncio.Lock()  # each reads all that there are

    def add_to(self, console: Blueprint) -> None:
        """Add the routes of these pages."""
        one = "/dead-letters/<topic:str>/<partition:int>/<offset:int>"
        console.add_route(self.index, "/dead-letters", methods=READ, name="letters")
        console.add_route(self.show, one, methods=READ, name="letter")
        for verb in VERBS:
            act = partial(self.act, verb=verb)
            console.add_route(
                act, f"/dead-letters/{verb}", methods=["POST"], name=f"{verb}_letters"
            )

    async def index(self, request: Request) -> HTTPResponse:
        """List the open dead letters that pass the filter, the newest first."""
        given = _given(request.args)
        found = passing(await self._read(), **_filter(given))
        found.sort(key=lambda letter: letter.time, reverse=True)
        shown = found[:SHOWN]
        return self._pages.page(
            request,
            "letters.html",
            found=found,
            shown=shown,
            states=await self._states(request, shown),
            only=_filter(given),
            did=given.get("did", ""),
            refused=given.get("refused", ""),
        )

    async def show(self, request: Request, topic: str, partition: int, offset: int) -> HTTPResponse:
        """Show one dead letter."""
        return await self._show(request, f"{topic}/{partition}/{offset}")

    async def act(self, request: Request, verb: str) -> HTTPResponse:
        """Replay or drop one dead letter, or all that pass a filter; tell how many."""
        form = _given(request.form or {})
        self._pages.check_act(request, form.get(guard.FIELD, ""))
        letters = await self._read()
        if letter_id := form.get("id"):
            chosen = [_named(letters, letter_id)]
        else:
            chosen = passing(letters, **_filter(form))
            if str(len(chosen)) != form.get("count"):
                return _back(form, refused=f"there are {len(chosen)} of them now: look again")
        states = await self._states(request, chosen)
        refused = {
            letter.id: why
            for letter in chosen
            if verb == "replay"
            and (why := refusal(letter, states.get(letter.saga_id or ""))) is not None
        }
        if letter_id and refused:
            return await self._show(request, letter_id, 409, refused=refused[letter_id])
        done = [letter for letter in chosen if letter.id not in refused]
        await self._close(done, VERBS[verb])
        return _back(form, did=_told(done, VERBS[verb], refused))

    async def _show(
        self, request: Request, letter_id: str, status: int = 200, refused: str = ""
    ) -> HTTPResponse:
        letter = _named(await self._read(), letter_id)
        states = await self._states(request, [letter])
        state = states.get(letter.saga_id or "")
        return self._pages.page(
            request,
            "letter.html",
            status,
            letter=letter,
            state=state,
            headers=[(name, _text(value)) for name, value in letter.record.headers],
            body=body_of(letter, [api.service.saga for api in self._pages.apis.values()]),
            never=refusal(letter, state),
            refused=refused,
        )

    async def _read(self) -> list[DeadLetter]:
        async with self._reading:
            return await asyncio.to_thread(self._read_all)

    def _read_all(self) -> list[DeadLetter]:
        # Importing Quix Streams takes a second, which tests and tools need not wait for.
        from ..kafka.dead_letters import read_open, topics_with_letters

        found = read_open(self._settings, topics_with_letters(self._settings))
        # One of another system, whose prefix is a part of the topic's name here, is not ours.
        return [letter for letter in found if letter.id.startswith(f"{letter.record.topic}/")]

    async def _close(self, letters: Sequence[DeadLetter], what: Mark) -> None:
        from ..kafka.dead_letters import close

        await asyncio.to_thread(close, self._settings, letters, what, utcnow())

    async def _states(
        self, request: Request, letters: Sequence[DeadLetter]
    ) -> dict[str, SagaState]:
        ids = list({letter.saga_id for letter in letters if letter.saga_id})
        database = request.app.ctx.threads.database
        found = await in_thread(request, saga_queries.find_many, database, ids)
        return {state.id: state for state in found}


def _given(fields: Mapping[str, Sequence[str]]) -> dict[str, str]:
    return {name: values[0].strip() for name, values in fields.items() if values[0].strip()}


def _filter(given: Mapping[str, str]) -> dict[str, str | None]:
    return {name: given.get(name) for name in ("topic", "saga", "reason")}


def _named(letters: Sequence[DeadLetter], letter_id: str) -> DeadLetter:
    for letter in letters:
        if letter.id == letter_id:
            return letter
    raise NotFound(f"no open dead letter {letter_id}: it was replayed or dropped, perhaps")


def _told(done: Sequence[DeadLetter], what: Mark, refused: Mapping[str, str]) -> str:
    told = f"{len(done)} {what}."
    for why in sorted(set(refused.values())):
        count = sum(one == why for one in refused.values())
        told += f" {count} passed over: {why}."
    return told


def _back(form: Mapping[str, str], **told: str) -> HTTPResponse:
    """Lead back to the list with its filter, which then says what was done."""
    only = {name: value for name, value in _filter(form).items() if value}
    return redirect(f"{PAGE}?{urlencode({**only, **told})}", status=303)


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode(errors="backslashreplace")


def body_of(dead_letter: DeadLetter, sagas: Iterable[Saga]) -> str:
    """Return the body of a record as it may be shown; the topic of none of the sagas is unknown."""
    text = (dead_letter.record.value or b"").decode(errors="backslashreplace")
    known = classes_on(dead_letter.record.topic, sagas)
    return hidden_text(known, text) if known or not text else HIDDEN
