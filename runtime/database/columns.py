"""The exact column types that SQLite and PostgreSQL share."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import peewee

from ..clock import EPOCH, microseconds

CENTS = Decimal("0.01")
FIRST, LAST = (microseconds(at.replace(tzinfo=UTC)) for at in (datetime.min, datetime.max))


class Instant(peewee.BigIntegerField):  # type: ignore[misc]
    """A moment, kept as microseconds since 1970 in UTC: exact and ordered on every database."""

    def db_value(self, value: datetime | None) -> int | None:
        """Turn an aware datetime into microseconds."""
        return None if value is None else microseconds(value)

    def python_value(self, value: int | None) -> datetime | None:
        """Turn microseconds into an aware datetime; those of no year are the first or last one.

        What is no number is the first: SQLite takes anything that is written into a row by hand.
        """
        if value is None:
            return None
        at = value if isinstance(value, (int, float)) else FIRST
        return EPOCH + timedelta(microseconds=min(max(at, FIRST), LAST))


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
        if _is_sqlite(context):
            return peewee.NodeList((nodes, peewee.SQL("AUTOINCREMENT")))
        return nodes


class TransactionNumber(peewee.BigAutoField):  # type: ignore[misc]
    """The number of the transaction that writes a row: its own on PostgreSQL, else the next one.

    On SQLite, it goes back where the last row is deleted.
    """

    def ddl(self, context: Any) -> Any:
        """Let PostgreSQL give the transaction's number; SQLite counts from the last row on."""
        kind = "BIGINT NOT NULL PRIMARY KEY DEFAULT txid_current()"
        if _is_sqlite(context):
            kind = "INTEGER NOT NULL PRIMARY KEY"
        return peewee.NodeList((peewee.Entity(self.column_name), peewee.SQL(kind)))


def _is_sqlite(context: Any) -> bool:
    """Tell whose SQL is built: a table may be made in another database than it is bound to."""
    return bool(context.state.param == "?")
