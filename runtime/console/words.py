"""How the console writes times and lengths of time."""

import json
from datetime import UTC, datetime
from typing import Any

from ..clock import length


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
