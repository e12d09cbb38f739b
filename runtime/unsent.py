"""What a sweep asks for, from its commit until it is sent: meanwhile, its sagas stay due.

So a host that dies in between costs them no time-out: the next sweep sends the same commands, as
they are, and the copies are the inbox's business. To send before the commit would be no way. An
undo may go out only once the row says that its saga compensates: else the answer to the do, coming
in between, would let the saga go on, and complete what is being undone.
"""

from collections.abc import Sequence
from datetime import datetime

import peewee

from . import saga_guard, saga_rows
from .database.columns import EPOCH
from .envelope import Envelope
from .saga import Saga
from .saga_state import SagaState
from .sending import command
from .transition import Transition

MARK = EPOCH  # in the column `due_at`: due in every sweep, and no saga's own time


def mark(database: peewee.Database, commands: Sequence[Envelope]) -> None:
    """Note that commands have still to be sent, in the transaction that asks for them."""
    if commands:
        saga_rows.set_due.on(database, [command.key for command in commands], MARK)


def is_early(due_at: datetime, state: SagaState, now: datetime) -> bool:
    """Tell a saga that is in the sweep for its mark alone."""
    return due_at == MARK and state.due_at is not None and now < state.due_at


def resend(saga: Saga, state: SagaState, now: datetime) -> Transition:
    """Send the command in flight as it is; it uses up neither an attempt nor time."""
    step = state.steps[state.in_flight] if state.in_flight is not None else None
    if step is None or step.body is None or not state.awaiting:
        return state, []
    return state, [command(saga, state, step, step.body, now)]


def note_sent(database: peewee.Database, saga_ids: Sequence[str]) -> None:
    """Let sagas be due when their states say so, in the caller's transaction.

    One that somebody has changed meanwhile has lost its mark, and is left as it is.
    """
    for row in saga_rows.select_due_at.on(database, saga_ids, MARK):
        state = saga_guard.read(*row)
        if state.due_at is not None:
            saga_rows.set_due.on(database, [state.id], state.due_at)
