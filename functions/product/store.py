"""The product service's tables."""

import peewee

from saga.runtime import Instant, Money, Table
from saga.runtime.clock import utcnow


class Product(Table):
    """A product. `stock` counts the free units: reserved ones have left it."""

    id = peewee.BigAutoField()
    name = peewee.CharField(max_length=200)
    price = Money()
    stock = peewee.BigIntegerField(constraints=[peewee.Check("stock >= 0")])
    created_at = Instant(default=utcnow)


class Reservation(Table):
    """The units that one order holds. A released one stays, as a record, with `released` set."""

    order_id = peewee.UUIDField(primary_key=True)
    product_id = peewee.BigIntegerField(index=True)
    quantity = peewee.IntegerField()
    released = peewee.BooleanField(default=False)
    created_at = Instant(default=utcnow)
