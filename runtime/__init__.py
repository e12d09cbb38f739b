"""The engine: it hosts functions, drives sagas and deploys them; it knows no order or product."""

from .client import SagaClient
from .clock import utcnow
from .database.columns import Id, Instant, Money
from .database.schema import Table
from .database.statements import prepared
from .errors import Rejected, SagaError
from .function import function
from .message import Command, Event, Message
from .saga import Retry, Saga, Step

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
