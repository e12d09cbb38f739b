"""A PostgreSQL server, or a client of it, that vanishes: nothing more comes, and no word of it."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import peewee
import pytest

from saga.runtime.database.connection import connect, transaction
from saga.runtime.loop import UNAVAILABLE
from support.cable import Cable, cable
from support.ports import free_port
from support.postgres import PostgresServer, run_server
from support.waiting import DEADLINE, wait_until

pytestmark = pytest.mark.proof

NOTICED = 11.0  # seconds
SLACK = 15.0  # seconds, on a busy machine
LOCKED_OUT = "SELECT 1 FROM pg_locks WHERE NOT granted AND pid = %s"
TAKE = "UPDATE jar SET content = content + 1"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with run_server(free_port()) as server:
        yield server


@pytest.fixture
def laid(server: PostgresServer) -> Iterator[Cable]:
    with cable(server.port or 0) as laid:
        yield laid


@pytest.fixture
def near(server: PostgresServer) -> Iterator[peewee.Database]:
    """A database with a jar, which nobody pulls the cable to."""
    database = connect(server.url())
    database.execute_sql("DROP TABLE IF EXISTS jar")
    database.execute_sql("CREATE TABLE jar (content INTEGER)")
    database.execute_sql("INSERT INTO jar VALUES (0)")
    yield database
    database.close()


@pytest.fixture
def far(server: PostgresServer, laid: Cable, near: peewee.Database) -> Iterator[peewee.Database]:
    """The same, through the cable."""
    database = connect(server.url(port=laid.port), shared=True)
    yield database
    database.close()


def seconds_until_it_fails(call: Any, *arguments: Any) -> float:
    began = time.monotonic()
    with pytest.raises(UNAVAILABLE):
        call(*arguments)
    return time.monotonic() - began


def test_locks_of_a_client_that_has_vanished_are_free(
    laid: Cable, near: peewee.Database, far: peewee.Database
) -> None:
    far.begin()
    far.execute_sql(TAKE)
    laid.pull()
    near.execute_sql("SET lock_timeout = 0")
    began = time.monotonic()
    near.execute_sql(TAKE)
    assert time.monotonic() - began < NOTICED + SLACK
    assert near.execute_sql("SELECT content FROM jar").fetchone() == (1,)


@pytest.mark.parametrize("waits", [True, False], ids=["in a statement", "between two"])
def test_client_of_a_server_that_has_vanished_goes_on(
    laid: Cable, near: peewee.Database, far: peewee.Database, *, waits: bool
) -> None:
    """It waits for an answer that has been lost, or has been idle and asks in vain."""
    pid = far.execute_sql("SELECT pg_backend_pid()").fetchone()[0]
    with ThreadPoolExecutor(1) as thread, transaction(near):
        near.execute_sql(TAKE)
        if waits:
            asked = thread.submit(seconds_until_it_fails, far.execute_sql, TAKE)
            waits_for_a_lock = partial(near.execute_sql, LOCKED_OUT, (pid,))
            wait_until(lambda: waits_for_a_lock().fetchone(), "it waits")
        laid.pull()
        if not waits:
            asked = thread.submit(seconds_until_it_fails, far.execute_sql, TAKE)
        assert asked.result(DEADLINE) < NOTICED + SLACK
    far.close()
    assert seconds_until_it_fails(far.connect) < NOTICED + SLACK
    laid.plug_in()
    far.execute_sql(TAKE)
