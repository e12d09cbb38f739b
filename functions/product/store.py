"""The product service's tables."""

from datetime import datetime
from typing import Any
from uuid import UUID

import peewee

from saga.runtime import Id, Instant, Money, Table, prepared, utcnow


class Product(Table):
    """A product. `stock` counts the free units: reserved ones have left it."""

    id = Id()
    name = peewee.CharField(max_length=200)
    price = Money()
    stock = peewee.BigIntegerField(constraints=[peewee.Check("stock >= 0")])
    created_at = Instant(default=utcnow)


class Reservation(Table):
    """The units that one order holds. A released one stays, as a record, with `released` set."""

    clustered = True

    order_id = peewee.UUIDField(primary_key=True)
    product_id = peewee.BigIntegerField(index=True)
    quantity = peewee.IntegerField()
    released = peewee.BooleanField(default=False)
    created_at = Instant(default=utcnow)


@prepared
def take_units(product_id: int, quantity: int) -> Any:
    """Take units out of free stock if there are enough; return the product's price.

    The guard is in the UPDATE, so stock can't go below zero, whatever runs in parallel.
    """
    taken = Product.update(stock=Product.stock - quantity)
    enough = taken.where(Product.id == product_id, Product.stock >= quantity)
    return enough.returning(Product.price)


@prepared
def hold_units(order_id: UUID, product_id: int, quantity: int, now: datetime) -> Any:
    """Store an order's reservation."""
    return Reservation.insert(
        order_id=order_id, product_id=product_id, quantity=quantity, created_at=now
    )
