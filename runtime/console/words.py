"""How the console writes times and lengths of time."""

import json
import math
from datetime import UTC, datetime
from typing import Any

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))  # of seconds


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


def lasting(seconds: float | None) -> str:
    """Write a length of time that may be unknown."""
    return "unknown" if seconds is None else length(round(seconds * 1_000_000))


def moment(seconds: float) -> datetime:
    """Return a moment that is given in seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC)


def instant(at: datetime) -> str:
    """Write a time in UTC, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def exact(at: datetime) -> str:
    """Write a time in UTC as RFC 3339 has it, to the microsecond."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def as_json(value: Any) -> str:
    """Write a value as JSON, to be read by people."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def _figures(number: float) -> str:
    """Write three figures of a number below 1000; what is cut off never makes it another unit's."""
    places = 2 if number < 10 else 1 if number < 100 else 0
    return f"{math.floor(number * 10**places) / 10**places:.{places}f}"
