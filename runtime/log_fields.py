"""What log lines tell of where they come from: the saga, the command, the trace.

It is known in the context of a handler's call, or of a request, to whoever logs there; others give
it along: `log.info("…", extra=fields_of(command))`.
"""

import logging
from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import Any

from .envelope import Envelope, Record
from .traceparent import read_traceparent

Fields = dict[str, Any]
Told = Callable[[], Fields]

_known: ContextVar[Told] = ContextVar("log_fields", default=dict)


def known_fields() -> Fields:
    """Return what is known here."""
    return _known.get()()


def know(fields: Fields) -> None:
    """Let it be known from now on in this context, in place of what was."""
    _known.set(lambda: fields)


class Known:
    """A context in which fields are known, those from around it, too.

    They are asked for where a line is logged: most messages are handled without one.
    """

    __slots__ = ("_around", "_before", "_fields")

    def __init__(self, fields: Told) -> None:
        self._fields = fields
        self._around: Told = dict
        self._before: Token[Told] | None = None

    def __call__(self) -> Fields:
        """Return the fields that are known inside."""
        return {**self._around(), **self._fields()}

    def __enter__(self) -> None:
        self._around = _known.get()
        self._before = _known.set(self)

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            _known.reset(self._before)


def fields_of(command: Envelope) -> Fields:
    """Return the fields of a command; its trace's where it has one."""
    fields: Fields = {
        "saga_id": command.key,
        "command_id": command.id,
        "attempt": command.attempt,
    }
    return fields | trace_fields(command.traceparent)


def record_of(
    log: logging.Logger, level: int, told: str, words: tuple[object, ...], known: Fields
) -> logging.LogRecord:
    """Make a record, as `log.log` does, without looking through the stack for whoever calls it."""
    return log.makeRecord(log.name, level, __file__, 0, told, words, None, extra=known)


def log_failure(log: logging.Logger, command: Envelope, traceback: str) -> None:
    """Log that a command's attempt has failed; its `traceback` has no secrets any more."""
    level, told = logging.ERROR, "%s failed, attempt %d"
    if log.isEnabledFor(level):
        words, known = (command.id, command.attempt), fields_of(command)
        record = record_of(log, level, told, words, known)
        record.exc_text = traceback
        log.handle(record)


def fields_of_record(record: Record) -> Fields:
    """Return the fields of what may be no message: its key, as far as it is one."""
    key = (record.key or b"")[:100].decode(errors="replace")
    return {"saga_id": key} if key else {}


def trace_fields(traceparent: str | None) -> Fields:
    """Return the ids of a trace and of a span in it; nothing where it is none."""
    found = read_traceparent(traceparent)
    return {} if found is None else {"trace_id": found.trace_id, "span_id": found.span_id}
