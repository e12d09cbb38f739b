"""What a person has asked of many at once: carried out one after the other, and recorded."""

import json
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, NamedTuple

import peewee
from uuid_utils.compat import uuid7

from ..clock import utcnow
from ..database.columns import Instant
from ..database.schema import Table
from ..errors import first_line
from ..intervention import BY_LIMIT
from ..web.problems import meant
from ..web.threads import DatabaseThreads

log = logging.getLogger(__name__)

PAUSE = 1.0  # seconds until the record is written again
SILENT = timedelta(seconds=30)  # after which nobody goes on with it
KEPT = 10_000  # records, the newest


class ActionRow(Table):
    """What was `Asked`, and what came of it; `refused` counts by reason."""

    id = peewee.CharField(max_length=36, primary_key=True)
    verb = peewee.CharField(max_length=12)
    what = peewee.CharField(max_length=12)
    by = peewee.CharField(max_length=BY_LIMIT)
    filter = peewee.TextField()
    chosen = peewee.IntegerField()
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

    @property
    def title(self) -> str:
        """What was asked, as in `Retry 3 sagas`."""
        return f"{self.verb.capitalize()} {self.chosen} {self.what}{'s' * (self.chosen != 1)}"


class Asked(NamedTuple):
    """What is asked, and by whom, of so many sagas or dead letters: those that pass a filter.

    `what` they are is `"saga"` or `"dead letter"`, `filter` the query of their list.
    """

    verb: str
    what: str
    by: str
    filter: str
    chosen: int


def add(asked: Asked) -> Any:
    """Record that something begins; records over `KEPT` are dropped, the oldest first."""
    values, now = asked._asdict() | {"by": asked.by[:BY_LIMIT]}, utcnow()
    row = ActionRow.create(id=str(uuid7()), began_at=now, updated_at=now, **values)
    newest = ActionRow.select(ActionRow.id).order_by(ActionRow.id.desc())
    for (last,) in list(newest.offset(KEPT).limit(1).tuples()):
        ActionRow.delete().where(ActionRow.id <= last).execute()
    return row


async def carry_out(threads: DatabaseThreads, row: Any, outcomes: AsyncIterator[str]) -> None:
    """Go through the `outcomes`, each of them empty or why it was not done, and record them."""
    refused: Counter[str] = Counter()
    written = time.monotonic()
    async for why in outcomes:
        if why:
            refused[why] += 1
        else:
            row.done += 1
        if time.monotonic() - written >= PAUSE:
            await _write(threads, row, refused)
            written = time.monotonic()
    row.ended_at = utcnow()
    await _write(threads, row, refused)
    told = "%s: %s (%s): %d done, not: %s"
    log.info(told, row.by, row.title, row.filter or "all", row.done, dict(refused))


def why_not(error: Exception) -> str:
    """Say why one was not acted on, in the same words for each."""
    known: Any = meant(error)
    if known is None:
        log.error("an action failed", exc_info=error)
        return "something went wrong; it is in the log"
    problem_type = getattr(known, "problem_type", None)
    return problem_type.title if problem_type is not None else str(known)


async def _write(threads: DatabaseThreads, row: Any, refused: Counter[str]) -> None:
    row.refused, row.updated_at = json.dumps(refused), utcnow()
    try:
        await threads.run(row.save)
    except Exception as error:  # the action goes on without its record, which the log has
        log.warning("action %s can't be recorded: %s", row.id, first_line(error))
