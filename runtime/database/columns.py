"""The exact column types that SQLite and PostgreSQL share."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import peewee

from ..clock import EPOCH, MICROSECOND

CENTS = Decimal("0.01")


class Instant(peewee.BigIntegerField):  # type: ignore[misc]
    """A moment, kept as microseconds since 1970 in UTC: exact and ordered on every database."""

    def db_value(self, value: datetime | None) -> int | None:
        """Turn an aware datetime into microseconds."""
        return None if value is None else (value - EPOCH) // MICROSECOND

    def python_value(self, value: int | None) -> datetime | None:
        """Turn microseconds into an aware datetime."""
        return None if value is None else EPOCH + timedelta(microseconds=value)


class Money(peewee.BigIntegerField):  # type: ignore[misc]
    """An amount of money, kept as whole cents: SQLite's DECIMAL would make floats of it."""

    def db_value(self, value: Decimal | None) -> int | None:
        """Turn an amount into cents; raise `ValueError` if it has a third decimal place."""
        if value is None:
            return None
        cents = Decimal(value) * 100
        if cents != int(cents):
            raise ValueError(f"{value} has more than two decimal places")
        return int(cents)

    def python_value(self, value: int | None) -> Decimal | None:
        """Turn cents into an amount with two places."""
        return None if value is None else (Decimal(value) / 100).quantize(CENTS)


class Id(peewee.BigAutoField):  # type: ignore[misc]
    """A number that the database gives once: never again, even after its row is deleted."""

    def ddl(self, context: Any) -> Any:
        """Add what SQLite needs to be told; PostgreSQL's sequences never go back."""
        nodes = super().ddl(context)
        if isinstance(self.model._meta.database, peewee.SqliteDatabase):
            return peewee.NodeList((nodes, peewee.SQL("AUTOINCREMENT")))
        return nodes
