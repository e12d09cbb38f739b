"""The engine: it hosts functions, drives sagas and deploys them; it knows no order or product."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .clock import utcnow
from .errors import Rejected, SagaError
from .function import function
from .message import Command, Event, Message
from .retry import Retry
from .saga import Saga, Step

if TYPE_CHECKING:
    from .client import SagaClient
    from .database.columns import Id, Instant, Money
    from .database.schema import Table
    from .database.statements import prepared

__all__ = [
    "Command",
    "Event",
    "Id",
    "Instant",
    "Message",
    "Money",
    "Rejected",
    "Retry",
    "Saga",
    "SagaClient",
    "SagaError",
    "Step",
    "Table",
    "function",
    "prepared",
    "utcnow",
]

# Imported when asked for: with the drivers of databases, the command `saga` would start in twice
# the time, and most of its commands need none.
_LATE = {
    "Id": "database.columns",
    "Instant": "database.columns",
    "Money": "database.columns",
    "SagaClient": "client",
    "Table": "database.schema",
    "prepared": "database.statements",
}

if not TYPE_CHECKING:  # else mypy would take any name for one of ours

    def __getattr__(name: str) -> Any:
        """Import what is late."""
        if name not in _LATE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f".{_LATE[name]}", __name__), name)
