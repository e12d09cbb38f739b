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


class ClosedProduct(Table):
    """A product that was deleted: gone for clients, with a stock that is still counted."""

    id = peewee.BigIntegerField(primary_key=True)
    name = peewee.CharField(max_length=200)
    price = Money()
    stock = peewee.BigIntegerField(constraints=[peewee.Check("stock >= 0")])
    created_at = Instant()


class Reservation(Table):
    """The units that one order holds. A released one stays, as a record, with `released` set."""

    clustered = True

    order_id = peewee.UUIDField(primary_key=True)
    product_id = peewee.BigIntegerField()
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


def give_units(product_id: int, quantity: int) -> bool:
    """Add units to free stock, a closed product's too; tell whether there is such a product.

    What is being closed is a row of the one table until it is a row of the other.
    """
    return any(
        table.update(stock=table.stock + quantity).where(table.id == product_id).execute()
        for table in (Product, ClosedProduct)
    )


def close_product(product: Product) -> None:
    """Store a product, whose row is about to be deleted, as closed."""
    ClosedProduct.create(**product.__data__)


@prepared
def hold_units(order_id: UUID, product_id: int, quantity: int, now: datetime) -> Any:
    """Store an order's reservation."""
    return Reservation.insert(
        order_id=order_id, product_id=product_id, quantity=quantity, created_at=now
    )
