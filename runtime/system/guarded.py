"""Parts of a loop that goes on whatever one of them raises."""

import logging
from collections.abc import Callable
from typing import TypeVar

from ..errors import first_line

log = logging.getLogger(__name__)

T = TypeVar("T")


class Guarded:
    """Does a part of the loop; what it raises stops nothing, and the same is logged once."""

    def __init__(self) -> None:
        self._faults: dict[str, str] = {}  # by part, as they were logged

    def __call__(self, what: str, work: Callable[[], T]) -> T | None:
        """Return what `work` returns, None where it raises; `what` names it."""
        try:
            done = work()
        except Exception as error:
            if self._faults.get(what) != first_line(error):
                log.exception("%s: the supervisor goes on after an error", what)
            self._faults[what] = first_line(error)
            return None
        self._faults.pop(what, None)
        return done
