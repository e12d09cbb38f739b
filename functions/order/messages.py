"""What the order service is asked, and what it answers."""

from decimal import Decimal
from uuid import UUID

from pydantic import PositiveInt

from saga.runtime import Command, Event


class OrderEvent(Event, topic="order.events"):
    """Base of the order service's events."""

    order_id: UUID


class OrderCreated(OrderEvent):
    """The order is there, pending."""


class OrderCompleted(OrderEvent):
    """The order is reserved and paid."""


class OrderCancelled(OrderEvent):
    """The order will not be carried out."""


class CreateOrder(Command, topic="order.create", event=OrderCreated):
    """Make a pending order."""

    order_id: UUID
    saga_id: UUID
    user_id: int
    product_id: int
    quantity: PositiveInt


class CompleteOrder(Command, topic="order.complete", event=OrderCompleted):
    """Close the order with its total."""

    order_id: UUID
    total: Decimal


class CancelOrder(Command, topic="order.cancel", event=OrderCancelled):
    """Undo `CreateOrder`."""

    order_id: UUID
