"""Requests that may be repeated: what has an Idempotency-Key is done once, and answered alike."""

from collections.abc import Callable
from hashlib import sha256
from typing import TypeVar

import peewee
from pydantic import BaseModel
from sanic import Request

from ..database.connection import transaction
from ..database.schema import Table
from . import headers
from .openapi import Headers
from .problem_types import KEY_REUSED
from .problems import Conflict
from .threads import DatabaseThreads

S = TypeVar("S", bound=BaseModel)

KEY: Headers = {
    "Idempotency-Key": {
        **headers.KEY,
        "description": "Repeated with the same body, it gives the same answer, and does nothing.",
    }
}


class RequestKey(Table):
    """What a request with a key was answered; `asked` is a hash."""

    clustered = True

    key = peewee.CharField(max_length=headers.LONGEST_KEY, primary_key=True)
    asked = peewee.CharField(max_length=64)
    answer = peewee.TextField()


async def once(request: Request, asked: str, shape: type[S], work: Callable[[], S]) -> S:
    """Call `work` in a database thread and a transaction; return what it returns.

    Where the request has a key that was used before, what was returned then is returned. Raises
    `Conflict` for a key that was used to ask something else, and what `work` raises: then the key
    counts as unused. It is for an app that has the table `RequestKey`.
    """
    threads: DatabaseThreads = request.app.ctx.threads
    key = headers.idempotency_key(request)
    return await threads.run(_once, threads.database, key, asked, shape, work)


def _once(
    database: peewee.Database, key: str | None, asked: str, shape: type[S], work: Callable[[], S]
) -> S:
    with transaction(database):
        if key is None:
            return work()
        asked = sha256(asked.encode()).hexdigest()
        # On PostgreSQL, it waits for a request with this key that is being done.
        new = RequestKey.insert(key=key, asked=asked, answer="").on_conflict_ignore()
        this = RequestKey.key == key
        if list(new.returning(RequestKey.key).bind(database)):
            done = work()
            answer = done.model_dump_json()
            RequestKey.update(answer=answer).where(this).bind(database).execute()
            return done
        before = RequestKey.select().where(this).bind(database).get()
    if before.asked != asked:
        raise Conflict("the idempotency key was used for something else", KEY_REUSED)
    return shape.model_validate_json(before.answer)
