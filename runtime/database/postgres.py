"""PostgreSQL through psycopg: transactions, and a count of the rows that are written."""

from typing import Any

import peewee
import psycopg
from psycopg.pq import TransactionStatus

ROWS_WRITTEN = "rows_written"  # the attribute of a connection that holds the count


class Postgres(peewee.PostgresqlDatabase):  # type: ignore[misc]
    """A database whose transactions may begin with a statement of their own, in one round trip."""

    def begin(self, first: str = "") -> None:
        """Begin a transaction, and run its first statement, which tells nothing."""
        with peewee.__exception_wrapper__:
            self.cursor().execute(f"BEGIN; {first}")


class CountingCursor(psycopg.Cursor[Any]):
    """A cursor that counts on its connection what it writes.

    What is neither a plain SELECT nor a command of the transaction counts. A SELECT that calls a
    function which writes is not seen.
    """

    def execute(self, *arguments: Any, **options: Any) -> Any:
        """Execute a statement, and count what it has written."""
        super().execute(*arguments, **options)
        self._count(str(arguments[0]))
        return self

    def executemany(self, *arguments: Any, **options: Any) -> None:
        """Execute a statement for many rows, and count what they have written."""
        super().executemany(*arguments, **options)
        self._count(str(arguments[0]))

    def _count(self, statement: str) -> None:
        if self.rowcount > 0 and statement.lstrip()[:6].upper() != "SELECT":
            counted = vars(self.connection)
            counted[ROWS_WRITTEN] = counted.get(ROWS_WRITTEN, 0) + self.rowcount


def rows_written(connection: Any) -> int | None:
    """Count the rows that a connection has written; None where its transaction has failed."""
    if connection.info.transaction_status == TransactionStatus.INERROR:
        return None
    return int(vars(connection).get(ROWS_WRITTEN, 0))
