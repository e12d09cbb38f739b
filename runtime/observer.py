"""Who hears of what happens to messages and sagas, to count it, log it or trace it.

Nothing of it is heard twice: a transaction that is rolled back and done again has happened once.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Literal, NamedTuple

from .envelope import Envelope, Record, Reply
from .saga_state import SagaState

if TYPE_CHECKING:  # the supervisor has no database, and need not load what knows them
    from .inbox import Answer

NOTHING = nullcontext()

Handling = Literal["done", "rejected", "failed", "duplicate", "dead"]


class Handled(NamedTuple):
    """What came of one record that a function has received; of each there is one.

    A `duplicate` was answered from the inbox. `dead` is what can't be read or must not be handled:
    it is a dead letter, and has no `command` where not even its headers can be read. Moments are
    microseconds since 1970; what comes next begins when its handler has `ended`.
    """

    command: Envelope | None
    answer: "Answer | None"
    outcome: Handling
    received: int
    began: int
    ended: int


class Applied(NamedTuple):
    """One change of a saga that has begun.

    `reply` is what changed it; None where its host acted on what was due, or a person did. `took`
    are the parts of its attempt, in microseconds, where the reply told them.
    """

    reply: Reply | None
    old: SagaState
    new: SagaState
    took: Sequence[int] = ()


class Observer:
    """Hears what a function or a host does; this one makes nothing of it.

    What it raises is raised where it is told. Others are told in its place by a subclass.
    """

    def around(self, _command: Envelope, /) -> AbstractContextManager[object]:
        """Be around the call of a handler."""
        return NOTHING

    def handled(self, handled: Sequence[Handled]) -> None:
        """Hear of the records of a function whose answers are committed."""

    def applied(self, changes: Sequence[Applied]) -> None:
        """Hear of changes of sagas that are committed."""

    def received(self, count: int) -> None:
        """Hear how many records a saga's host has received, whose changes are committed."""

    def sent(self, record: Record) -> None:
        """Hear of a record that the broker has taken."""

    def ticking(self, _began: int, /) -> AbstractContextManager[str | None]:
        """Be around the call of a timer's handler; tell the `traceparent` of what it asks for.

        One whose transaction is rolled back is heard of again.
        """
        return NOTHING

    def ticked(self, began: int, ended: int, commands: int) -> None:
        """Hear of a call of a timer's handler, and how many commands it asked for."""


NOBODY = Observer()
