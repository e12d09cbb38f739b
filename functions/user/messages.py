"""What the user service is asked, and what it answers."""

from decimal import Decimal
from uuid import UUID

from saga.runtime import Command, Event


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
    total: Decimal


class RefundPayment(Command, topic="user.refund", event=PaymentRefunded):
    """Undo `ProcessPayment`."""

    order_id: UUID
