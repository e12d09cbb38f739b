"""The one place that reads the wall clock, and what a time to wait may be, or is in words."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from functools import partial

from .errors import ContractError

Clock = Callable[[], datetime]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

YEAR = 366 * 86_400  # seconds; what is to wait longer is a mistake, or would overflow a date
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))  # of seconds


_system_clock: Clock = partial(datetime.now, UTC)
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


def length(microseconds: int) -> str:
    """Write a length of time with its three leading figures or its two leading units."""
    if microseconds < 0:
        return f"\N{MINUS SIGN}{length(-microseconds)}"
    if microseconds < 1_000:
        return f"{microseconds} \N{MICRO SIGN}s"
    if microseconds < 1_000_000:
        return f"{_figures(microseconds / 1_000)} ms"
    seconds = microseconds // 1_000_000
    if seconds < 60:
        return f"{_figures(microseconds / 1_000_000)} s"
    size, unit = next((size, unit) for size, unit in _UNITS if seconds >= size)
    smaller = dict(zip([u for _, u in _UNITS], _UNITS[1:], strict=False))[unit]
    rest = seconds % size // smaller[0]
    return f"{seconds // size} {unit}" + (f" {rest} {smaller[1]}" if rest else "")


def _figures(number: float) -> str:
    """Write three figures of a number below 1000; what is cut off never makes it another unit's."""
    places = 2 if number < 10 else 1 if number < 100 else 0
    return f"{math.floor(number * 10**places) / 10**places:.{places}f}"
