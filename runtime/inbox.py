"""The inbox: one row per command that a service has answered, with the answer.

It is written in the transaction of the handler's own writes, so a command's effect and the memory
of it stand or fall together (Helland, "Life beyond Distributed Transactions", 2007).
The answer in it is what is sent again when the command comes again: the inbox is the outbox too.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import peewee

from .database.schema import Table
from .database.statements import one_of, prepared
from .envelope import ID_LIMIT, Envelope, Outcome, message_id, read_command_id
from .problem import Problem

FENCE = "Fenced"  # the type of an answer that no handler has given
FENCED = Problem(code="cancelled", message="undone before it was done").model_dump_json()


class InboxRow(Table):
    """A command's id and its answer."""

    clustered = True

    id = peewee.CharField(max_length=ID_LIMIT, primary_key=True)
    type = peewee.CharField()
    outcome = peewee.CharField(max_length=8)
    time = peewee.CharField(max_length=40)
    data = peewee.TextField()

    class Meta:
        """peewee's settings."""

        table_name = "inbox"


class Answer(NamedTuple):
    """What a command was answered: the part of the reply that the inbox keeps."""

    type: str
    outcome: Outcome
    time: str
    data: str


class Decision(NamedTuple):
    """What to do with a command: run its handler, or give this answer.

    `fence` is the id of a do that has to be refused from now on, because its undo came first.
    """

    run: bool
    answer: Answer | None = None
    fence: str | None = None


Known = Mapping[str, Answer]


def decide(command: Envelope, known: Known, now: datetime) -> Decision:
    """Decide about a command from the answers given so far.

    The three rules for a participant of a saga: a duplicate gets the answer that it got before, an
    undo of nothing is done, and an undo before its do refuses the do. What has begun outside counts
    as done, unless its handler rejected it. Raises `Undecodable` when the command's id is not one.
    """
    saga_id, step, action = read_command_id(command.id)
    if command.id in known:
        return Decision(run=False, answer=known[command.id])
    if action == "do":
        return Decision(run=True)
    do_id = message_id(saga_id, step, "do")
    done = known.get(do_id)
    fence = do_id if done is None else None
    if _may_have_acted(done, begun=begun_id(command) in known):
        return Decision(run=True, fence=fence)
    skipped = Answer(f"{command.type}.Skipped", "done", now.isoformat(), "{}")
    return Decision(run=False, answer=skipped, fence=fence)


def _may_have_acted(done: Answer | None, *, begun: bool) -> bool:
    if done is None or done.outcome == "failed" or done.type == FENCE:
        return begun
    return done.outcome == "done"


def is_final(command: Envelope, answer: Answer) -> bool:
    """Tell whether an answer stands for ever, and so belongs into the inbox.

    A fault may pass, and a rejected undo is what an operator mends and retries.
    """
    if answer.outcome == "rejected":
        return read_command_id(command.id)[2] == "do"
    return answer.outcome == "done"


def is_kept(command: Envelope, answer: Answer, guilty: bool) -> bool:
    """Tell whether an answer belongs into the inbox.

    The failure of a `guilty` do does, too: its next attempt would end more processes.
    """
    return is_final(command, answer) or (guilty and read_command_id(command.id)[2] == "do")


def fenced(now: datetime) -> Answer:
    """Return the refusal of a do whose undo has come before it."""
    return Answer(FENCE, "rejected", now.isoformat(), FENCED)


def begun_id(command: Envelope) -> str:
    """Return the id of the note that a command's do has begun: no command's, and no longer."""
    saga_id, step, _ = read_command_id(command.id)
    return f"{saga_id}/{step}/?"


def related(commands: Iterable[Envelope], *, outside: bool = False) -> set[str]:
    """Return the ids that matter for these commands; `outside` says that they act there."""
    ids = set()
    for command in commands:
        saga_id, step, action = read_command_id(command.id)
        ids |= {command.id, message_id(saga_id, step, "do")}
        if outside or action == "undo":
            ids.add(begun_id(command))
    return ids


def load(database: peewee.Database, ids: Iterable[str]) -> dict[str, Answer]:
    """Read the answers to those of the commands that have one."""
    return {key: Answer(*rest) for key, *rest in _select.on(database, ids)}


def save(database: peewee.Database, answers: Sequence[tuple[str, Answer]]) -> None:
    """Store answers, in the caller's transaction, which is refused if there is one of them."""
    _insert.later(database, [(key, *answer) for key, answer in answers])


@prepared
def _select(ids: Iterable[str]) -> Any:
    return InboxRow.select().where(one_of(InboxRow.id, ids))


@prepared
def _insert(key: str, kind: str, outcome: Outcome, time: str, data: str) -> Any:
    return InboxRow.insert(id=key, type=kind, outcome=outcome, time=time, data=data)
