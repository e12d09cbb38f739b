"""Advance trips: apply each reply to its saga, and send what comes next."""

from collections.abc import Sequence
from datetime import datetime

from saga.runtime import Envelope, Reply, function, saga_store

from .book_trip import book_trip


@function(saga=book_trip)
def advance_trips(replies: Sequence[Reply], now: datetime) -> list[Envelope]:
    """Apply a batch of replies; return the next commands."""
    return saga_store.advance(book_trip, replies, now)
