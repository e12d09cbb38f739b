"""What the user service is asked, and what it answers."""

from decimal import Decimal
from typing import Annotated
from uuid import UUID

from pydantic import Field

from saga.runtime import Command, Event

Amount = Annotated[Decimal, Field(ge=0, decimal_places=2)]


class UserEvent(Event, topic="user.events"):
    """Base of the user service's events."""

    order_id: UUID


class PaymentProcessed(UserEvent):
    """The order is paid."""


class PaymentRefunded(UserEvent):
    """The money is back."""


class ProcessPayment(Command, topic="user.pay", event=PaymentProcessed):
    """Take an order's total from the user's balance."""

    order_id: UUID
    user_id: int
    total: Amount


class RefundPayment(Command, topic="user.refund", event=PaymentRefunded):
    """Undo `ProcessPayment`."""

    order_id: UUID
