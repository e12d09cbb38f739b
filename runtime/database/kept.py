"""A transaction that is ended by who has begun it: what runs in it may not commit, nor roll back.

Others have written in it, too: what a COMMIT in its midst makes last would be done again with the
rest, and what a ROLLBACK takes away has been answered.
"""

import re
import threading
from contextlib import AbstractContextManager
from typing import Any

from ..errors import ContractError

ENDS = re.compile(
    r"\s*(COMMIT|END|ABORT|PREPARE\s+TRANSACTION|ROLLBACK(?!(\s+(WORK|TRANSACTION))?\s+TO))\b",
    re.IGNORECASE,
)
NOT_YOURS = "the runtime ends the transaction of a handler: put what is to be undone into atomic()"


class Kept:
    """A database, mixed into one of peewee's, whose transaction nobody else ends while it is kept.

    Each thread has its own.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._kept = threading.local()

    def commit(self) -> None:
        """Commit, as peewee does; raise `ContractError` where that is not the caller's to do."""
        self._check()
        super().commit()  # type: ignore[misc]

    def rollback(self) -> None:
        """Roll back, as peewee does; raise `ContractError` where that is not the caller's to do."""
        self._check()
        super().rollback()  # type: ignore[misc]

    def execute_sql(self, sql: Any, params: Any = None) -> Any:
        """Run a statement; raise `ContractError` where it ends what is not the caller's to end."""
        if isinstance(sql, str) and ENDS.match(sql):  # psycopg composes some of its own
            self._check()
        return super().execute_sql(sql, params)  # type: ignore[misc]

    def _check(self) -> None:
        if getattr(self._kept, "now", None):
            raise ContractError(NOT_YOURS)


class kept(AbstractContextManager[None]):  # noqa: N801 - reads like a function
    """Keeps what runs in a block from ending the transaction of this thread: a `ContractError`.

    A database of peewee's own, which a test may have bound its tables to, is left as it is.
    """

    def __init__(self, database: Any) -> None:
        self._database = database if isinstance(database, Kept) else None

    def __enter__(self) -> None:
        if self._database is not None:
            self._begun = self._database._state.transactions  # type: ignore[attr-defined]
            self._before = [*self._begun]
            self._database._kept.now = True

    def __exit__(self, *_: object) -> None:
        if self._database is not None:
            self._database._kept.now = False
            self._begun[:] = self._before  # whatever was begun in it, or taken for its own
