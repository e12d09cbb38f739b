"""What a sweep asks for, from its commit until it is sent: its sagas are soon due again meanwhile.

So a host that dies in between costs them no time-out: a sweep after that sends the same commands,
as they are, and the copies are the inbox's business. It is not at once, or replicas of a host would
take from each other what one of them is sending, and leave the rest.

To send before the commit would be no way. An undo may go out only once the row says that its saga
compensates: else the answer to the do, coming in between, would let the saga go on, and complete
what is being undone.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import peewee

from . import saga_guard, saga_rows
from .envelope import Envelope
from .saga import Saga
from .saga_state import SagaState
from .sending import command
from .transition import Transition

SENT_WITHIN = timedelta(seconds=1)  # as a rule
# By its microseconds a time in the column `due_at` is known as a mark: one saga in a million has
# such a time of its own, and is sent a copy.
MARK = 999_999


def marked(now: datetime) -> datetime:
    """Return when what a sweep asks for now is looked at again, after one second or two."""
    return (now + SENT_WITHIN).replace(microsecond=MARK)


def mark(
    database: peewee.Database,
    states: Iterable[SagaState],
    commands: Sequence[Envelope],
    now: datetime,
) -> None:
    """Note that commands have still to be sent, in the transaction that asks for them.

    Sagas that are due before a mark need none.
    """
    asked, until = {command.key for command in commands}, marked(now)
    late = [s.id for s in states if s.id in asked and s.due_at is not None and s.due_at > until]
    if late:
        saga_rows.set_due.later(database, [(late, until)])


def is_early(due_at: datetime, state: SagaState, now: datetime) -> bool:
    """Tell a saga that is in the sweep for its mark alone."""
    return due_at.microsecond == MARK and state.due_at is not None and now < state.due_at


def resend(saga: Saga, state: SagaState, now: datetime) -> Transition:
    """Send the command in flight as it is; it uses up neither an attempt nor time."""
    step = state.steps[state.in_flight] if state.in_flight is not None else None
    if step is None or step.body is None or not state.awaiting:
        return state, []
    return state, [command(saga, state, step, step.body, now)]


def note_sent(database: peewee.Database, saga_ids: Sequence[str], swept_at: datetime) -> None:
    """Let sagas be due when their states say so, in the caller's transaction.

    One that another sweep has marked meanwhile is left as it is.
    """
    for row in saga_rows.select_due_at.on(database, saga_ids, marked(swept_at)):
        state = saga_guard.read(*row)
        if state.due_at is not None:
            saga_rows.set_due.on(database, [state.id], state.due_at)
