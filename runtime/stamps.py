"""When an attempt of a command was where: what the time that it took is made of.

Each moment is told by the clock of the host that it was on, so that what lies between two of them
is below zero where those clocks differ.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

from .clock import EPOCH, MICROSECOND

HEADER = "ce_stamps"  # an extension attribute of CloudEvents, in replies
COUNT = 5
LIMIT = 120  # characters; five moments of today have 84


class Stamps(NamedTuple):
    """The moments of one attempt until its reply was on its way.

    `sent` is when its saga decided to send it, `received` when its function had it in hand, `began`
    and `ended` are those of the handler, and `answered` is when what it wrote was committed.
    """

    sent: datetime
    received: datetime
    began: datetime
    ended: datetime
    answered: datetime


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


def stamped(sent: str, later: Iterable[datetime]) -> Stamps | None:
    """Return the moments of an attempt, `sent` as its command tells; None where that is no time."""
    try:
        at = datetime.fromisoformat(sent)
    except ValueError:
        return None
    return Stamps(at, *later) if at.tzinfo is not None else None


def write(stamps: Stamps) -> bytes:
    """Write moments as a header's value: microseconds since 1970."""
    return b"%d %d %d %d %d" % tuple([(at - EPOCH) // MICROSECOND for at in stamps])


def read(value: str | None) -> Stamps | None:
    """Read a header's value; None where there is none, or it is not one of ours."""
    if value is None or len(value) > LIMIT:
        return None
    try:
        moments = [EPOCH + int(number) * MICROSECOND for number in value.split()]
    except (ValueError, OverflowError):
        return None
    return Stamps(*moments) if len(moments) == COUNT else None


def parts(stamps: Stamps, applied: datetime) -> Parts:
    """Return what an attempt's time was made of, whose reply was `applied` then."""
    return Parts(*[after - before for before, after in pairwise((*stamps, applied))])
