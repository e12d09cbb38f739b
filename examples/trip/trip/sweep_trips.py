"""Sweep trips: whatever is due is sent again, given up or undone."""

from datetime import datetime

from saga.runtime import Envelope, function, saga_store

from .book_trip import book_trip


@function(saga=book_trip, every=1.0)
def sweep_trips(now: datetime) -> list[Envelope]:
    """Act on the sagas that are due; return the commands to send."""
    return saga_store.sweep(book_trip, now)
