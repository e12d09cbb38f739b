"""Which SQLite is needed, and which of its errors is a mistake: sqlite3 has one word for all."""

import sqlite3
from pathlib import Path

from ..errors import ContractError

NEEDED = (3, 35)  # RETURNING


def check_sqlite(url: str) -> None:
    """Raise `ContractError` where a URL is of SQLite, and this Python's is too old."""
    if url.lower().startswith("sqlite:") and sqlite3.sqlite_version_info < NEEDED:
        needed = ".".join(map(str, NEEDED))
        raise ContractError(
            f"SQLite {needed} or newer is needed, and this Python has {sqlite3.sqlite_version}: "
            "use a Python of `uv python install`, or PostgreSQL (SAGA_DATABASE_URL)"
        )


def sqlite_file(url: str) -> Path | None:
    """Return the file of a SQLite database; None for another one, and one in memory."""
    scheme, _, rest = url.partition("://")
    path = rest.removeprefix("/")
    return Path(path) if scheme.lower() == "sqlite" and path else None


def is_mistake(error: object) -> bool:
    """Tell the error of a statement that is wrong (its syntax, no such column) from others."""
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR


def is_about_a_transaction(sql: str) -> bool:
    """Tell a statement whose error is no mistake of its own: an outage ended its transaction."""
    return sql.startswith(("RELEASE", "ROLLBACK"))
