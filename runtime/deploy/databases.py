"""A database and a role for every stack on a PostgreSQL server: that role gets in, and no other.

Both have one name: it is what `Settings.database_url` puts in place of {service}.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import LiteralString
from urllib.parse import quote

import psycopg
import tenacity
from psycopg import sql

from ..errors import ContractError, SagaError
from ..secrets import check_url, read_secrets
from .database_name import check_name

log = logging.getLogger(__name__)

CONNECT_TIMEOUT = 60.0  # seconds until a server must take a connection
CREATE_LOCK = 0x5A6C  # number of a PostgreSQL advisory lock

Connection = psycopg.Connection[tuple[object, ...]]


class NotCreated(SagaError):
    """A database and its role could not be made."""


def administrator_url() -> str:
    """Return the secret SAGA_ADMIN_URL; the secret POSTGRES_PASSWORD takes {password}'s place."""
    [url] = read_secrets(["SAGA_ADMIN_URL"]).values()
    if "{password}" in url:
        [password] = read_secrets(["POSTGRES_PASSWORD"]).values()
        url = url.replace("{password}", quote(password, safe=""))
    return url


@contextmanager
def administrator(url: str, timeout: float = CONNECT_TIMEOUT) -> Iterator[Connection]:
    """Connect to a server that may still be starting; raise `NotCreated` if it does not answer.

    Of several at once, one has the server for itself, the others wait.
    """
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(_may_pass),
        wait=tenacity.wait_exponential(multiplier=0.1, max=2),
        stop=tenacity.stop_after_delay(timeout),
        before_sleep=tenacity.before_sleep_log(log, logging.WARNING),
        reraise=True,
    )
    try:
        check_url(url)
        connection = retrying(_connect, url)
    except (ContractError, psycopg.ProgrammingError):
        # Its text would hold parts of the URL.
        raise NotCreated("SAGA_ADMIN_URL is not the URL of a PostgreSQL database") from None
    except psycopg.OperationalError as error:
        raise NotCreated(f"PostgreSQL: {str(error).splitlines()[0]}") from None
    with connection:
        yield connection


def create_database(connection: Connection, name: str, password: str) -> None:
    """Make a role and its database, or bring them to what they should be.

    Only a hash of the password leaves this process: a server may log statements.
    """
    check_name(name)
    if name == connection.info.user:
        raise NotCreated(f"database {name}: that is the administrator's role")
    try:
        if not _exists(connection, "SELECT FROM pg_roles WHERE rolname = %s", name):
            _run(connection, "CREATE ROLE {name}", name)
        hashed = _hash(connection, name, password)
        _run(connection, "ALTER ROLE {name} LOGIN PASSWORD {}", name, hashed)
        if not _exists(connection, "SELECT FROM pg_database WHERE datname = %s", name):
            _run(connection, "CREATE DATABASE {name}", name)
        _run(connection, "ALTER DATABASE {name} OWNER TO {name}", name)
        _run(connection, "REVOKE ALL ON DATABASE {name} FROM PUBLIC", name)
    except psycopg.Error as error:
        raise NotCreated(f"database {name}: {error.diag.message_primary or error}") from None


def _connect(url: str) -> Connection:
    connection = psycopg.connect(url, autocommit=True, connect_timeout=5)
    connection.execute("SELECT pg_advisory_lock(%s)", [CREATE_LOCK])
    return connection


def _may_pass(error: BaseException) -> bool:
    """Tell a server that is away, or is starting, from one that did not like the password."""
    if not isinstance(error, psycopg.OperationalError):
        return False
    return error.pgconn is None or not error.pgconn.used_password


def _hash(connection: Connection, role: str, password: str) -> str:
    hashed = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
    return hashed.decode()


def _exists(connection: Connection, query: LiteralString, name: str) -> bool:
    return connection.execute(query, [name]).fetchone() is not None


def _run(connection: Connection, statement: LiteralString, name: str, *values: str) -> None:
    literals = map(sql.Literal, values)
    connection.execute(sql.SQL(statement).format(*literals, name=sql.Identifier(name)))
