"""The engine: it hosts functions, drives sagas and deploys them; it knows no order or product."""

from .database.connection import Id, Instant, Money, Table
from .database.statements import prepared
from .errors import Rejected, SagaError
from .function import function
from .message import Command, Envelope, Event, Message, Reply
from .saga import Retry, Saga, Step

__all__ = [
    "Command",
    "Envelope",
    "Event",
    "Id",
    "Instant",
    "Message",
    "Money",
    "Rejected",
    "Reply",
    "Retry",
    "Saga",
    "SagaError",
    "Step",
    "Table",
    "function",
    "prepared",
]
