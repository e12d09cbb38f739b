"""Who observes what a process hosts: the log's fields always, and the traces where they are on."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager

from ..envelope import Envelope, Record
from ..log_fields import Known, fields_of
from ..observer import Applied, Handled, Observer

log = logging.getLogger(__name__)


class Logs(Observer):
    """Lets what a handler logs tell of its command."""

    def around(self, command: Envelope, /) -> AbstractContextManager[None]:
        """Let the command's fields be known."""
        return Known(fields_of(command))


class Observers(Observer):
    """Several observers as one: all are told, the first one first.

    What one raises is logged, and keeps neither the others from hearing nor the work from going on:
    what they hear of is committed, and would be done again for nothing.
    """

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    @contextmanager
    def around(self, command: Envelope, /) -> Iterator[None]:
        """Be around the call of a handler, the first one outermost."""
        with ExitStack() as stack:
            self._tell(lambda observer: stack.enter_context(observer.around(command)))
            yield

    def handled(self, handled: Sequence[Handled]) -> None:
        """Tell of records whose answers are committed."""
        self._tell(lambda observer: observer.handled(handled))

    def applied(self, changes: Sequence[Applied]) -> None:
        """Tell of changes of sagas that are committed."""
        self._tell(lambda observer: observer.applied(changes))

    def received(self, count: int) -> None:
        """Tell how many records a saga's host has received."""
        self._tell(lambda observer: observer.received(count))

    def sent(self, record: Record) -> None:
        """Tell of a record that the broker has taken."""
        self._tell(lambda observer: observer.sent(record))

    def ticked(self, began: int, ended: int, commands: int) -> None:
        """Tell of a call of a timer's handler."""
        self._tell(lambda observer: observer.ticked(began, ended, commands))

    def _tell(self, tell: Callable[[Observer], object]) -> None:
        for observer in self._observers:
            try:
                tell(observer)
            except Exception:
                log.exception("%s does not hear of this", type(observer).__name__)
