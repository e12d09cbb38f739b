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


class ClosedUser(Table):
    """A user who was deleted: gone for clients, with a balance that refunds still go to."""

    id = peewee.BigIntegerField(primary_key=True)
    name = peewee.CharField(max_length=200)
    email = peewee.CharField(max_length=320)
    balance = Money(constraints=[peewee.Check("balance >= 0")])
    created_at = Instant()


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


def give_money(user_id: int, amount: Decimal) -> bool:
    """Add money to a balance, a closed user's too; tell whether there is such a user.

    Whoever is being closed is a row of the one table until it is a row of the other.
    """
    return any(
        table.update(balance=table.balance + amount).where(table.id == user_id).execute()
        for table in (User, ClosedUser)
    )


def close_user(user: User) -> None:
    """Store a user, whose row is about to be deleted, as closed."""
    ClosedUser.create(**user.__data__)


@prepared
def keep_payment(order_id: UUID, user_id: int, amount: Decimal, now: datetime) -> Any:
    """Store what an order has taken."""
    return Payment.insert(order_id=order_id, user_id=user_id, amount=amount, created_at=now)
