"""Who observes what a process hosts: the log's fields always, and the traces where they are on."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager

from ..envelope import Envelope, Record
from ..log_fields import Known, fields_of
from ..observer import Applied, Handled, Observer


class Logs(Observer):
    """Lets what a handler logs tell of its command."""

    def around(self, command: Envelope, /) -> AbstractContextManager[None]:
        """Let the command's fields be known."""
        return Known(fields_of(command))


class Observers(Observer):
    """Several observers as one: all are told, the first one first."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    @contextmanager
    def around(self, command: Envelope, /) -> Iterator[None]:
        """Be around the call of a handler, the first one outermost."""
        with ExitStack() as stack:
            for observer in self._observers:
                stack.enter_context(observer.around(command))
            yield

    def handled(self, handled: Sequence[Handled]) -> None:
        """Tell of records whose answers are committed."""
        for observer in self._observers:
            observer.handled(handled)

    def applied(self, changes: Sequence[Applied]) -> None:
        """Tell of changes of sagas that are committed."""
        for observer in self._observers:
            observer.applied(changes)

    def received(self, count: int) -> None:
        """Tell how many records a saga's host has received."""
        for observer in self._observers:
            observer.received(count)

    def sent(self, record: Record) -> None:
        """Tell of a record that the broker has taken."""
        for observer in self._observers:
            observer.sent(record)

    def ticked(self, began: int, ended: int, commands: int) -> None:
        """Tell of a call of a timer's handler."""
        for observer in self._observers:
            observer.ticked(began, ended, commands)
