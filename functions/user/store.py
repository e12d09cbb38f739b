"""The user service's tables."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import peewee

from saga.runtime import Id, Instant, Money, Table, prepared, utcnow


class User(Table):
    """A user and the money in the account."""

    id = Id()
    name = peewee.CharField(max_length=200)
    email = peewee.CharField(max_length=320, unique=True)
    balance = Money(constraints=[peewee.Check("balance >= 0")])
    created_at = Instant(default=utcnow)


class Payment(Table):
    """What one order has taken. A refunded one stays, as a record, with `refunded` set."""

    clustered = True

    order_id = peewee.UUIDField(primary_key=True)
    user_id = peewee.BigIntegerField()
    amount = Money()
    refunded = peewee.BooleanField(default=False)
    created_at = Instant(default=utcnow)


@prepared
def take_money(user_id: int, amount: Decimal) -> Any:
    """Take money from a balance if there is enough.

    The guard is in the UPDATE, so a balance can't go below zero, whatever runs in parallel.
    """
    taken = User.update(balance=User.balance - amount)
    return taken.where(User.id == user_id, User.balance >= amount)


@prepared
def keep_payment(order_id: UUID, user_id: int, amount: Decimal, now: datetime) -> Any:
    """Store what an order has taken."""
    return Payment.insert(order_id=order_id, user_id=user_id, amount=amount, created_at=now)
