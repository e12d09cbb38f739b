"""Who observes what a process hosts: the log's fields always, and who counts or traces it."""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from ..envelope import Envelope
from ..errors import first_line
from ..log_fields import Known, fields_of
from ..observer import NOTHING, Observer

log = logging.getLogger(__name__)

Tell = Callable[..., Any]
Around = Callable[..., AbstractContextManager[object]]
TOLD = ("handled", "applied", "received", "sent", "ticked")


def _guarded(tell: Tell) -> Tell:
    def guarded(*what: Any) -> Any:
        try:
            return tell(*what)
        except Exception as error:
            _tell(error)
            return None

    return guarded


def _tell(error: Exception) -> None:
    log.error("not observed: %s", first_line(error), exc_info=True)


class Logs(Observer):
    """Lets what a handler logs tell of its command."""

    def around(self, command: Envelope, /) -> AbstractContextManager[None]:
        """Let the command's fields be known, which nobody reads where nothing is logged."""
        return Known(partial(fields_of, command))


class Observers(Observer):
    """Several observers as one: all who hear of something are told, the first one first.

    What one of them raises is logged, and keeps nothing from going on: what they are told of is
    committed, and would be done again, and told of again, for ever.
    """

    def __init__(self, *observers: Observer) -> None:
        for name in TOLD:
            setattr(
                self, name, _all([_guarded(getattr(o, name)) for o in _hearing(name, observers)])
            )
        self._ticking = [o.ticking for o in _hearing("ticking", observers)]
        self._around = [observer.around for observer in _hearing("around", observers)]
        if len(self._around) == 1:
            alone = _guarded(self._around[0])
            # Each message is one call.
            setattr(self, "around", lambda command: alone(command) or NOTHING)  # noqa: B010

    def ticking(self, began: int, /) -> AbstractContextManager[str | None]:
        """Be around the call of a timer's handler; tell what the first one tells with a trace."""
        return _Within(self._ticking, began)

    def around(self, command: Envelope, /) -> AbstractContextManager[object]:
        """Be around the call of a handler, the first one outermost."""
        return _Within(self._around, command)


class _Within(AbstractContextManager[Any]):
    """Several contexts of one call, the first one outermost; what the first one tells is told."""

    __slots__ = ("_arounds", "_call", "_entered")

    def __init__(self, arounds: Sequence[Around], call: Envelope | int) -> None:
        self._arounds, self._call = arounds, call
        self._entered: list[AbstractContextManager[object]] = []

    def __enter__(self) -> Any:
        first = None
        for around in self._arounds:
            try:
                context = around(self._call)
                told = context.__enter__()
            except Exception as error:
                _tell(error)
            else:
                self._entered.append(context)
                first = first or told
        return first

    def __exit__(self, *raised: Any) -> None:
        while self._entered:
            try:
                self._entered.pop().__exit__(*raised)
            except Exception as error:
                _tell(error)


def _hearing(name: str, observers: Sequence[Observer]) -> list[Observer]:
    """Return those who make something of what is told by this name."""
    ignored = getattr(Observer, name)
    return [observer for observer in observers if getattr(type(observer), name) is not ignored]


def _all(tell: Sequence[Tell]) -> Tell:
    if len(tell) == 1:
        return tell[0]

    def tell_all(*what: Any) -> None:
        for each in tell:
            each(*what)

    return tell_all
