"""The user service's tables."""

import peewee

from saga.runtime import Instant, Money, Table
from saga.runtime.clock import utcnow


class User(Table):
    """A user and the money in the account."""

    id = peewee.BigAutoField()
    name = peewee.CharField(max_length=200)
    email = peewee.CharField(max_length=320, unique=True)
    balance = Money(constraints=[peewee.Check("balance >= 0")])
    created_at = Instant(default=utcnow)


class Payment(Table):
    """What one order has taken. A refunded one stays, as a record, with `refunded` set."""

    order_id = peewee.UUIDField(primary_key=True)
    user_id = peewee.BigIntegerField(index=True)
    amount = Money()
    refunded = peewee.BooleanField(default=False)
    created_at = Instant(default=utcnow)
