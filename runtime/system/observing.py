"""Who observes what a process hosts: the log's fields always, and who counts or traces it."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any

from ..envelope import Envelope
from ..errors import first_line
from ..log_fields import Known, fields_of
from ..observer import Observer

log = logging.getLogger(__name__)

Tell = Callable[..., Any]
Around = Callable[..., AbstractContextManager[object]]
TOLD = ("handled", "applied", "received", "sent", "ticked")


def _guarded(tell: Tell) -> Tell:
    def guarded(*what: Any) -> Any:
        try:
            return tell(*what)
        except Exception as error:
            log.error("not observed: %s", first_line(error), exc_info=True)
            return None

    return guarded


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
            [alone] = self._around
            setattr(self, "around", alone)  # noqa: B010 - each message is one call

    @contextmanager
    def ticking(self, began: int, /) -> Iterator[str | None]:
        """Be around the call of a timer's handler; tell what the first one tells with a trace."""
        with ExitStack() as stack:
            traces = [_enter(stack, around, began) for around in self._ticking]
            yield next(filter(None, traces), None)

    @contextmanager
    def around(self, command: Envelope, /) -> Iterator[None]:
        """Be around the call of a handler, the first one outermost."""
        with ExitStack() as stack:
            for around in self._around:
                _enter(stack, around, command)
            yield


@_guarded
def _enter(stack: ExitStack, around: Around, call: Envelope | int) -> Any:
    return stack.enter_context(around(call))


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
