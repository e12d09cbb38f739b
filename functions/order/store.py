"""The order service's tables."""

import peewee

from saga.runtime import Instant, Money, Table
from saga.runtime.clock import utcnow

PENDING = "PENDING"
COMPLETED = "COMPLETED"
CANCELLED = "CANCELLED"


class Order(Table):
    """An order. `total` is known once it is completed, `saga_id` when a saga has made it."""

    id = peewee.UUIDField(primary_key=True)
    saga_id = peewee.UUIDField(null=True)
    user_id = peewee.BigIntegerField(index=True)
    product_id = peewee.BigIntegerField()
    quantity = peewee.IntegerField()
    total = Money(null=True)
    status = peewee.CharField(max_length=9, default=PENDING, index=True)
    created_at = Instant(default=utcnow)
    updated_at = Instant(default=utcnow)

    class Meta:
        """peewee's settings; `order` is a word of SQL."""

        table_name = "orders"
