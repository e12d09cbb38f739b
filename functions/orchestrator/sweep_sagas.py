"""Sweep order sagas: whatever is due is sent again, given up or undone."""

from datetime import datetime

from saga.runtime import Envelope, function, saga_store

from .place_order import place_order


@function(saga=place_order, every=1.0)
def sweep_sagas(now: datetime) -> list[Envelope]:
    """Act on the sagas that are due; return the commands to send."""
    return saga_store.sweep(place_order, now)
