"""The errors of the runtime: one line each, and two that a handler may meet."""

import os
import traceback
from collections.abc import Callable


class SagaError(Exception):
    """Base of every error that this package raises on purpose."""


class Rejected(SagaError):
    """A handler's business "no": it becomes a reply, its writes are undone, it is never retried."""

    # Of a class of its own that does not call `__init__`.
    code: str = "rejected"
    message: str = "no reason was given"

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Undecodable(SagaError):
    """A record that can't be read as a message; it ends in its topic's dead letters."""


class ContractError(SagaError):
    """A function, message or saga is declared in a way that can't work."""


class StackError(SagaError):
    """A stack file is wrong; the text names the file, the key and what is wrong."""


class BrokerUnavailable(SagaError):
    """The broker did not take a message or an offset in time."""


class NeverTaken(SagaError):
    """The broker will never take this record as it is."""


class Conflict(SagaError):
    """The saga is not in a state that allows this, or the idempotency key is taken.

    By its `code` a program tells one conflict from another, over HTTP too.
    """

    def __init__(self, message: str, code: str = "conflict") -> None:
        super().__init__(message)
        self.code = code


class Unreadable(Conflict):
    """The saga's row can't be read, or was set aside when it could not be."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "saga_unreadable")


class NotFound(SagaError):
    """No saga has this id."""


class NotRunning(SagaError):
    """No system runs on this data directory."""


class Tame:
    """A context in which a user's code may raise what it will, and ends no process.

    What is no `Exception`, as `sys.exit` and a task's cancellation raise it, becomes an ordinary
    `error`; a KeyboardInterrupt is a person's. `what` says whose code it is. A process that is
    forked in it ends with it: two can't go on with one transaction and one place in a group.
    """

    _forks = 0  # that this process comes of; to ask for its id would be a call of the system

    def __init__(self, what: str, error: type[SagaError]) -> None:
        self._what = what
        self._error = error
        self._begun = 0

    def __enter__(self) -> None:
        self._begun = Tame._forks

    def __exit__(self, _: object, ending: BaseException | None, __: object) -> None:
        if self._begun != Tame._forks:
            os._exit(isinstance(ending, Exception))
        if ending is not None and not isinstance(ending, (Exception, KeyboardInterrupt)):
            raise self._error(f"{self._what} raised {first_line(ending)}") from ending

    @classmethod
    def count_fork(cls) -> None:
        """Know that this process is another one."""
        cls._forks += 1


os.register_at_fork(after_in_child=Tame.count_fork)


def first_line(error: BaseException) -> str:
    """Say an error in one line of at most 500 characters."""
    return f"{name_of(error)}: {said(error)}".partition("\n")[0][:500]


def name_of(error: object) -> str:
    """Return the name of an error's class, whose class may not tell it."""
    return _told(lambda: type(error).__name__, "Exception")


def traced(error: BaseException) -> str:
    """Say where an error comes from, or its name where its own parts can't be had."""
    told = _told(lambda: "".join(traceback.format_exception(error)).rstrip(), "")
    return told or first_line(error)  # one whose missing attributes raise something of their own


def said(word: object) -> str:
    """Say a word of somebody else's; it may be an error whose own text can't be had."""
    # Such as one that reads a field which an answer has not had.
    return _told(lambda: str(word), f"<{name_of(word)}>")


def shown(thing: object) -> str:
    """Show a thing of somebody else's, as `repr` does where it can be had."""
    return _told(lambda: repr(thing), f"<{name_of(thing)}>")


def _told(tell: Callable[[], str], otherwise: str) -> str:
    """Return what somebody's code tells, or something else where that raises whatever it may."""
    try:
        return str.__str__(tell())  # which may be of a class of its own
    except KeyboardInterrupt:  # a person's
        raise
    except BaseException:
        return otherwise
