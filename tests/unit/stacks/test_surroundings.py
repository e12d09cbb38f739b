"""What `saga bench` says of the machine, the versions and the databases."""

import os
import platform
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import peewee
import psutil
import pytest

from saga.runtime.database.connection import connect
from saga.runtime.system.process import ProcessInfo
from saga.runtime.system.state import System
from saga.stacks import surroundings
from saga.stacks.surroundings import Database

SQLITE = Database(kind="sqlite", version="3", synchronous="full", fsync="on")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[peewee.Database]:
    database = connect(f"sqlite:///{tmp_path}/order.db")
    yield database
    database.close()


def running(*processes: ProcessInfo) -> System:
    return System(broker="127.0.0.1:9092", stacks=Path("stacks"), processes=list(processes))


BROKER = ProcessInfo(name="broker", kind="broker", pid=os.getpid())


def test_machine_is_this_one() -> None:
    machine = surroundings.this_machine()
    assert machine.cores == psutil.cpu_count()
    assert machine.cpu
    assert 0 < machine.memory_gib < 100_000
    assert machine.system == f"{platform.system()} {platform.release()}"


def test_sqlite_says_that_it_syncs_every_commit(database: peewee.Database) -> None:
    found = surroundings.describe_database(database)
    assert found == Database(
        kind="sqlite", version=sqlite3.sqlite_version, synchronous="full", fsync="on"
    )


@pytest.mark.parametrize(("level", "fsync"), [("off", "off"), ("normal", "off"), ("extra", "on")])
def test_sqlite_that_syncs_otherwise_says_so(
    database: peewee.Database, level: str, fsync: str
) -> None:
    database.execute_sql(f"PRAGMA synchronous = {level}")
    found = surroundings.describe_database(database)
    assert (found.synchronous, found.fsync) == (level, fsync)


def test_postgres_says_what_its_server_is_set_to(postgres_server) -> None:
    database = connect(postgres_server.url())
    found = surroundings.describe_database(database)
    database.close()
    assert (found.kind, found.synchronous, found.fsync) == ("postgresql", "on", "off")
    assert found.version[0].isdigit()


def test_broker_that_is_none_of_the_systems_processes_is_another() -> None:
    assert surroundings.broker_kind(running()) == "another"


def test_broker_is_told_by_its_program(monkeypatch: pytest.MonkeyPatch) -> None:
    assert surroundings.broker_kind(running(BROKER)) == "embedded"
    monkeypatch.setattr(psutil.Process, "name", lambda _: "java")
    assert surroundings.broker_kind(running(BROKER)) == "kafka"


@pytest.mark.parametrize(
    ("broker", "told"), [("embedded", True), ("kafka", True), ("another", False)]
)
def test_versions_are_those_of_all_that_take_part(broker: str, *, told: bool) -> None:
    found = surroundings.versions(broker, SQLITE)
    assert {"saga-functions", "python", "sqlite"} <= found.keys()
    assert ("broker" in found) == told


def test_surroundings_are_told_whole(database: peewee.Database) -> None:
    told = surroundings.describe(running(), database)
    assert told.settings == {
        "broker": "another",
        "database": "sqlite",
        "synchronous": "full",
        "fsync": "on",
    }
    assert told.versions["python"] == platform.python_version()
