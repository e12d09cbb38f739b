"""The one place that reads the wall clock."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def _system_clock() -> datetime:
    return datetime.now(UTC)


_clock: ContextVar[Clock] = ContextVar("clock", default=_system_clock)


def utcnow() -> datetime:
    """Return the present moment, in UTC."""
    return _clock.get()()


@contextmanager
def clock_set_to(clock: Clock) -> Iterator[None]:
    """Let `clock` tell the time in this context: for tests, which want to know it beforehand."""
    token = _clock.set(clock)
    try:
        yield
    finally:
        _clock.reset(token)
