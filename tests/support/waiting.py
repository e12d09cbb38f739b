"""Waiting for conditions."""

import time
from collections.abc import Callable
from typing import TypeVar

import pytest

DEADLINE = 240.0  # seconds: only what hangs takes longer, on a slow and busy machine too
POLL = 0.05  # seconds: to ask takes processor time here and in what is asked

T = TypeVar("T")


def wait_until(condition: Callable[[], T], what: str, seconds: float = DEADLINE) -> T:
    """Wait until the condition gives something true, and return it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(POLL)
    pytest.fail(f"not within {seconds:g} s: {what}")


def given_up(deploy: Callable[[str], str], reason: str, seconds: float) -> tuple[str, str]:
    """Return what a deploy tells of what never gets ready, and after how many seconds.

    A slow machine may need longer until there is the `reason` to tell.
    """
    while reason not in (told := deploy(f"{seconds:g}")) and seconds < DEADLINE:
        seconds *= 4
    return told, f"{seconds:g}"
