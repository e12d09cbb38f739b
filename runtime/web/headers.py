"""The request headers that adapters heed."""

import re

from sanic import Request

from ..traceparent import new_traceparent, read_traceparent
from .problems import Invalid

LONGEST_WAIT = 30  # seconds
LONGEST_KEY = 255  # characters

_KEY = rf"[!-~]([ -~]{{0,{LONGEST_KEY - 2}}}[!-~])?"
KEY = {
    "description": "Repeated with the same body, it gives the same saga.",
    "pattern": f"^{_KEY}$",
}
_WAIT = re.compile(r'wait\s*=\s*"?([0-9]{1,9})"?\s*(;.*)?', re.IGNORECASE)


def idempotency_key(request: Request) -> str | None:
    """Return the request's Idempotency-Key, if it has one; refuse two, or one not to be stored."""
    keys: list[str] = request.headers.getall("idempotency-key", [])
    if len(keys) > 1:
        raise Invalid({"Idempotency-Key": "must be given once"})
    if keys and not re.fullmatch(_KEY, keys[0]):
        reason = f"must be 1 to {LONGEST_KEY} printable ASCII characters"
        raise Invalid({"Idempotency-Key": reason})
    return keys[0] if keys else None


def preferred_wait(request: Request) -> int | None:
    """Return the seconds of `Prefer: wait=N` (RFC 7240), at most 30; None if there is no such."""
    preferences = ",".join(request.headers.getall("prefer", [])).split(",")
    found = (_WAIT.fullmatch(preference.strip()) for preference in preferences)
    wait = next((match for match in found if match), None)
    return min(int(wait[1]), LONGEST_WAIT) if wait else None


def traceparent(request: Request) -> str:
    """Return the `traceparent` of what a request starts: a new trace's when it has no valid one.

    Two are none: nobody knows which trace is meant.
    """
    known: str | None = getattr(request.ctx, "traceparent", None)
    return known or new_traceparent()


def given_traceparent(request: Request) -> str | None:
    """Return the request's `traceparent`, in version 00; None when it has no valid one."""
    given = read_traceparent(",".join(request.headers.getall("traceparent", [])))
    return None if given is None else str(given)
