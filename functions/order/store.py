"""The order service's tables."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import peewee

from saga.runtime import Instant, Money, Table, prepared, utcnow

PENDING = "PENDING"
COMPLETED = "COMPLETED"
CANCELLED = "CANCELLED"


class Order(Table):
    """An order. `total` is known once it is completed, `saga_id` when a saga has made it."""

    clustered = True

    id = peewee.UUIDField(primary_key=True)
    saga_id = peewee.UUIDField(null=True)
    user_id = peewee.BigIntegerField()
    product_id = peewee.BigIntegerField()
    quantity = peewee.IntegerField()
    total = Money(null=True)
    status = peewee.CharField(max_length=9, default=PENDING)
    created_at = Instant(default=utcnow)
    updated_at = Instant(default=utcnow)

    class Meta:
        """peewee's settings; `order` is a word of SQL."""

        table_name = "orders"
        # Lists of one user's orders, and of one status, are in the order of ids.
        indexes = ((("user_id", "id"), False), (("status", "id"), False))


@prepared
def insert_order(
    order_id: UUID, saga_id: UUID, user_id: int, product_id: int, quantity: int, now: datetime
) -> Any:
    """Store a pending order."""
    return Order.insert(
        id=order_id,
        saga_id=saga_id,
        user_id=user_id,
        product_id=product_id,
        quantity=quantity,
        created_at=now,
        updated_at=now,
    )


@prepared
def complete(order_id: UUID, total: Decimal, now: datetime) -> Any:
    """Complete an order if it is pending."""
    changes = {"status": COMPLETED, "total": total, "updated_at": now}
    return Order.update(changes).where(Order.id == order_id, Order.status == PENDING)
