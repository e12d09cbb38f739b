"""Commands whose handlers act outside of their transaction, where no rollback takes anything back.

Such a do is noted in the inbox before it begins, in a transaction of its own. The note is there
whatever becomes of the do, also where its process dies halfway, and tells its undo, which is
another process, that there may be something to undo.
"""

from collections.abc import Iterable
from datetime import datetime

import peewee

from . import inbox
from .database.connection import transaction
from .envelope import Envelope, read_command_id
from .inbox import Answer, Known


def note_begun(database: peewee.Database, commands: Iterable[Envelope], now: datetime) -> None:
    """Note, in a transaction, those dos that are about to act outside for the first time."""
    dos = [command for command in commands if read_command_id(command.id)[2] == "do"]
    with transaction(database):
        known = inbox.load(database, inbox.related(dos, outside=True))
        inbox.save(database, begun(dos, known, now))


def begun(dos: Iterable[Envelope], known: Known, now: datetime) -> list[tuple[str, Answer]]:
    """Return the notes that are missing of those dos that will run."""
    note = Answer("Begun", "failed", now.isoformat(), "{}")
    run = [inbox.begun_id(command) for command in dos if inbox.decide(command, known, now).run]
    return [(key, note) for key in run if key not in known]


def unseen(command: Envelope, answer: Answer, known: Known) -> Answer:
    """Return the answer to a command that can't be read.

    It refuses no do that has begun outside with an earlier attempt: a saga undoes what has failed,
    and not what was refused.
    """
    if inbox.begun_id(command) not in known or read_command_id(command.id)[2] == "undo":
        return answer
    return answer._replace(outcome="failed")
