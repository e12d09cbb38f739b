"""PostgreSQL through psycopg: transactions, round trips, and a count of what is written."""

from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import Any

import peewee
import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import InvalidParameterValue
from psycopg.pq import TransactionStatus

from ..errors import ContractError
from ..secrets import UNREAD
from .kept import Kept

# A batch holds its locks for half a second, and what its last handler takes. Who waits longer gets
# an error that is tried again, before the limit of the handler that waits ends its process.
LOCK_TIMEOUT = 10.0  # seconds
# A process that takes too long is ended by its own side first, which knows what it was doing. What
# is left to the server is one that stands still, or a statement whose process is gone.
GRACE = 5.0  # seconds
# A host that has vanished is noticed within 11 seconds: by the server, whose locks are free then,
# and by a client that waits for an answer. Keepalives find it where nothing is on its way to it;
# what is has its own time-out.
IDLE, INTERVAL, COUNT = 5, 2, 3  # seconds, seconds, keepalives
USER_TIMEOUT = 10_000  # milliseconds
KEEPALIVES = {
    "tcp_keepalives_idle": IDLE,
    "tcp_keepalives_interval": INTERVAL,
    "tcp_keepalives_count": COUNT,
    "tcp_user_timeout": USER_TIMEOUT,
}
# The same on our side, where libpq has other names for it.
CLIENT: dict[str, Any] = {
    "connect_timeout": 5,  # seconds
    "keepalives_idle": IDLE,
    "keepalives_interval": INTERVAL,
    "keepalives_count": COUNT,
    "tcp_user_timeout": USER_TIMEOUT,
}
# A session whose process was killed would hold its locks until its statement is over. Older servers
# than PostgreSQL 14 can't look after their clients, nor can those on Windows, which refuse to.
LOOK = """SELECT set_config(name, '1s', false) FROM pg_settings
    WHERE name = 'client_connection_check_interval' AND source = 'default'"""
# A statement that is prepared while its table has few rows would be planned to read all of them,
# and do so until the server has next analyzed the table, which takes it a minute or more. To plan
# anew each time takes tens of microseconds.
PLANNED = {"plan_cache_mode": "force_custom_plan"}
# Attributes of a connection: the count, and what is sent with its next statement.
ROWS_WRITTEN, HELD = "rows_written", "held"


def session_options(url: str, longest: float) -> str:
    """Return the server's settings for a session; what the URL has of them comes last, and holds.

    A statement, and a transaction that does nothing, may take a little more than `longest` seconds.
    Raises `ContractError` where the URL can't be read.
    """
    milliseconds = round((longest + GRACE) * 1000)
    settings = {
        "lock_timeout": round(LOCK_TIMEOUT * 1000),
        "statement_timeout": milliseconds,
        "idle_in_transaction_session_timeout": milliseconds,
        **KEEPALIVES,
        **PLANNED,
    }
    try:
        own = conninfo_to_dict(url).get("options") or ""
    except psycopg.ProgrammingError:
        raise ContractError(UNREAD) from None
    return " ".join([*(f"-c {name}={value}" for name, value in settings.items()), str(own)])


class Postgres(Kept, peewee.PostgresqlDatabase):  # type: ignore[misc]
    """A database whose transactions begin and end with statements of theirs, in one round trip.

    Its server gives up a statement whose client has gone, where it can, and nobody says otherwise.
    """

    def _connect(self) -> Any:
        connection = super()._connect()
        with suppress(InvalidParameterValue):
            connection.execute(LOOK)
        return connection

    def rollback(self) -> None:
        """Roll back; somebody may have closed the connection, and another one is opened."""
        vars(self.connection()).pop(HELD, None)
        if was_closed(self.connection()):
            self.close()
        else:
            super().rollback()

    def begin(self, first: str = "") -> None:
        """Begin a transaction, and run its first statement, which tells nothing."""
        with peewee.__exception_wrapper__:
            self.cursor().execute(f"BEGIN; {first}")

    def hold(self, run: Callable[[], object]) -> None:
        """Hold what runs a statement, and tells nothing, until this transaction's next one.

        They are sent together, in their order; an error of any is the next one's, which had best be
        the COMMIT: psycopg ends what it has sent together with a request to flush, and that ends
        the server's `idle_in_transaction_session_timeout` until it hears of us again.
        """
        if self.in_transaction():
            vars(self.connection()).setdefault(HELD, []).append(run)
        else:
            run()


class CountingCursor(psycopg.Cursor[Any]):
    """A cursor that sends first what its connection holds, and counts on it what is written.

    What is neither a plain SELECT, nor a command of the transaction, nor was held counts. A SELECT
    that calls a function which writes is not seen.
    """

    def execute(self, *arguments: Any, **options: Any) -> Any:
        """Execute a statement, and count what it has written."""
        self._send(super().execute, *arguments, **options)
        return self

    def executemany(self, *arguments: Any, **options: Any) -> None:
        """Execute a statement for many rows, and count what they have written."""
        self._send(super().executemany, *arguments, **options)

    def _send(self, run: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        held = vars(self.connection).pop(HELD, None)
        with self.connection.pipeline() if held else nullcontext():
            for each in held or ():
                each()
            run(*arguments, **options)
        self._count(str(arguments[0]))

    def _count(self, statement: str) -> None:
        if self.rowcount > 0 and statement.lstrip()[:6].upper() != "SELECT":
            counted = vars(self.connection)
            counted[ROWS_WRITTEN] = counted.get(ROWS_WRITTEN, 0) + self.rowcount


def was_closed(connection: Any) -> bool:
    """Tell whether somebody has closed a connection that was not lost."""
    return bool(connection.closed and not connection.broken)


def is_over(connection: Any) -> bool:
    """Tell whether somebody has ended a connection's transaction, or closed it."""
    idle = connection.info.transaction_status == TransactionStatus.IDLE
    return idle or was_closed(connection)


def rows_written(connection: Any) -> int | None:
    """Count the rows that a connection has written; None where its transaction has failed."""
    if connection.info.transaction_status == TransactionStatus.INERROR:
        return None
    return int(vars(connection).get(ROWS_WRITTEN, 0))
