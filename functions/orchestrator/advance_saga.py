"""Advance order sagas: apply each reply to its saga, and send what comes next."""

from collections.abc import Sequence
from datetime import datetime

from saga.runtime import Envelope, Reply, function, saga_store

from .place_order import place_order


@function(saga=place_order)
def advance_saga(replies: Sequence[Reply], now: datetime) -> list[Envelope]:
    """Apply a batch of replies; return the next commands."""
    return saga_store.advance(place_order, replies, now)
