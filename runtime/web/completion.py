"""Completion: what a request has begun is carried to its end, though its client hangs up."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_begun: set[asyncio.Task[Any]] = set()  # an event loop keeps no task alive


def begin(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Let `work` go on by itself."""
    task = asyncio.create_task(work)
    _begun.add(task)
    task.add_done_callback(_begun.discard)
    return task


async def complete(work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` returns, or raise what it raises; cancelled, leave it to its end.

    A request is cancelled when its client hangs up. What it has stored by then has to be followed
    by what belongs to it, such as the command of a saga's change.
    """
    return await asyncio.shield(begin(work))
