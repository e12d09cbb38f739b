"""The one place that reads the wall clock, and what a time to wait may be."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta

from .errors import ContractError

Clock = Callable[[], datetime]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

YEAR = 366 * 86_400  # seconds; what is to wait longer is a mistake, or would overflow a date


def _system_clock() -> datetime:
    return datetime.now(UTC)


_clock: ContextVar[Clock] = ContextVar("clock", default=_system_clock)


def utcnow() -> datetime:
    """Return the present moment, in UTC."""
    return _clock.get()()


def microseconds(at: datetime) -> int:
    """Return a moment as microseconds since 1970, exactly."""
    since = at - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


@contextmanager
def clock_set_to(clock: Clock) -> Iterator[None]:
    """Let `clock` tell the time in this context: for tests, which want to know it beforehand."""
    token = _clock.set(clock)
    try:
        yield
    finally:
        _clock.reset(token)


def check_seconds(what: str, value: object) -> None:
    """Raise `ContractError` unless a declared time is above 0 s and at most a year."""
    if isinstance(value, bool) or not (isinstance(value, (int, float)) and 0 < value <= YEAR):
        raise ContractError(
            f"{what} is {value!r}: give seconds, above 0 and at most {YEAR} (a year)"
        )
