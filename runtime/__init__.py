"""The engine: it hosts functions, drives sagas and deploys them; it knows no order or product."""

from saga.runtime.database.connection import Id, Instant, Money, Table
from saga.runtime.database.statements import prepared
from saga.runtime.errors import Rejected, SagaError
from saga.runtime.function import function
from saga.runtime.message import Command, Envelope, Event, Message, Reply
from saga.runtime.saga import Retry, Saga, Step

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
