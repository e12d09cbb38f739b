"""What a database, and its role, may be called."""

from ..errors import StackError

SERVERS_OWN = {"postgres", "template0", "template1"}


def check_name(database: str) -> None:
    """Raise `StackError` for a name that would take over what is the server's own."""
    if database in SERVERS_OWN or database.startswith("pg_"):
        raise StackError(f"database: {database} is a name of PostgreSQL's own")
