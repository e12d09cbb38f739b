"""What the product service is asked, and what it answers."""

from decimal import Decimal
from uuid import UUID

from pydantic import PositiveInt

from saga.runtime import Command, Event


class ProductEvent(Event, topic="product.events"):
    """Base of the product service's events."""

    order_id: UUID


class ProductReserved(ProductEvent):
    """The units are set aside for the order; `total` is what they cost together."""

    total: Decimal


class ProductReleased(ProductEvent):
    """The units are free again."""


class ReserveProduct(Command, topic="product.reserve", event=ProductReserved):
    """Set units aside for an order."""

    order_id: UUID
    product_id: int
    quantity: PositiveInt


class ReleaseProduct(Command, topic="product.release", event=ProductReleased):
    """Undo `ReserveProduct`."""

    order_id: UUID
