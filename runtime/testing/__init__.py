"""The test kit: `invoke` for one function, `given` for a whole saga; nothing has to run for them.

With pytest, the fixtures `saga_database` and `frozen_clock` are there as soon as the package is
installed, and what a test has bound is put back after it. Without pytest, `reset` does that.
"""

from datetime import datetime, timedelta

import peewee

from .invoke import CRASH_POINTS, InjectedFault, SimulatedCrash, invoke
from .judgement import EXCUSES, Case, Judgement, judge
from .request import Request
from .result import Changes, Result
from .story import NEW_YEAR, Story, given
from .workbench import Source, workbench

__all__ = [
    "CRASH_POINTS",
    "EXCUSES",
    "NEW_YEAR",
    "Case",
    "Changes",
    "FrozenClock",
    "InjectedFault",
    "Judgement",
    "Request",
    "Result",
    "SimulatedCrash",
    "Story",
    "fresh_database",
    "given",
    "invoke",
    "judge",
    "reset",
]


class FrozenClock:
    """A clock that stands still until it is moved; calling it tells the time."""

    def __init__(self, now: datetime = NEW_YEAR) -> None:
        self.now = now

    def __call__(self) -> datetime:
        """Tell the time."""
        return self.now

    def advance(self, **duration: float) -> None:
        """Move on by a duration, in the words of `timedelta`: `advance(minutes=5)`."""
        self.now += timedelta(**duration)


def fresh_database(*sources: Source) -> peewee.Database:
    """Bind the tables of functions, store modules or single tables to a new database in memory."""
    return workbench.fresh_database(*sources)


def reset() -> None:
    """Bind the tables as they were before the test kit bound them, and close its databases."""
    workbench.clear()
