"""When an attempt of a command was where: what the time that it took is made of.

Each moment is told by the clock of the host that it was on, so that what lies between two of them
is below zero where those clocks differ. They are microseconds since 1970, as whole numbers: each
message has five of them.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from .clock import microseconds

HEADER = "ce_stamps"  # an extension attribute of CloudEvents, in replies
COUNT = 5
LONGEST = 17  # digits of a moment, and so until the year 5138


class Stamps(NamedTuple):
    """The moments of one attempt until its reply was on its way, in microseconds since 1970.

    `sent` is when its saga decided to send it, `received` when its function had it in hand, `began`
    and `ended` are those of the handler, and `answered` is when what it wrote was committed.
    """

    sent: int
    received: int
    began: int
    ended: int
    answered: int


class Parts(NamedTuple):
    """What lies between the moments of an attempt; together they are its whole time.

    It waits in the topic (`queue`) and for its turn in the batch, the handler works, what it wrote
    is committed with its batch, and the `reply` is on its way until the saga has it.
    """

    queue: timedelta
    turn: timedelta
    handler: timedelta
    commit: timedelta
    reply: timedelta


def stamped(sent: str, *later: int) -> Stamps | None:
    """Return the moments of an attempt, `sent` as its command tells; None where that is no time."""
    try:
        at = datetime.fromisoformat(sent)
    except ValueError:
        return None
    return None if at.tzinfo is None else Stamps(microseconds(at), *later)


def write(stamps: Stamps) -> bytes:
    """Write moments as a header's value."""
    return b"%d %d %d %d %d" % stamps


def read(value: str | None) -> Stamps | None:
    """Read a header's value; None where there is none, or it is not one of ours."""
    moments = value.split() if value is not None else []
    if len(moments) != COUNT or max(map(len, moments)) > LONGEST:
        return None
    try:
        return Stamps(*map(int, moments))
    except ValueError:
        return None


def between(stamps: Stamps, applied: datetime) -> list[int]:
    """Return the parts of an attempt whose reply was `applied` then, in microseconds."""
    sent, received, began, ended, answered = stamps
    reply = microseconds(applied) - answered
    return [received - sent, began - received, ended - began, answered - ended, reply]


def parts(between: Iterable[int]) -> Parts:
    """Return parts that are given in microseconds; raise `TypeError` where it is not each of them.

    Raises `OverflowError` for what no time can be.
    """
    return Parts(*[timedelta(microseconds=part) for part in between])
