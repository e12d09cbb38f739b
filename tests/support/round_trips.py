"""Round trips to a PostgreSQL server, counted by libpq's own trace of what is sent and received."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import peewee
from psycopg.pq import Trace

SENT = "F"  # to the backend
WAITED_FOR = ("Query", "Sync")  # the server answers that it is ready, and others may go before


@contextmanager
def round_trips(database: peewee.Database) -> Iterator[Callable[[], int]]:
    """Count how often this connection has waited for the server in a block, until the call."""
    connection = database.connection().pgconn
    with tempfile.NamedTemporaryFile() as file:

        def begin() -> None:
            connection.trace(file.fileno())
            connection.set_trace_flags(Trace.SUPPRESS_TIMESTAMPS)

        def count() -> int:
            connection.untrace()  # which writes what there is
            lines = Path(file.name).read_text().splitlines()
            begin()
            sent = [line.split("\t") for line in lines if line.startswith(f"{SENT}\t")]
            return sum(words[2] in WAITED_FOR for words in sent)

        begin()
        try:
            yield count
        finally:
            connection.untrace()
