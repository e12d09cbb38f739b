"""What a measurement depends on: the machine, the versions, and what a commit syncs to disk."""

import platform
import sqlite3
from importlib.metadata import version
from pathlib import Path

import peewee
import psutil
from pydantic import BaseModel

from saga.runtime.settings import EMBEDDED, KAFKA
from saga.runtime.system.state import System

SYNCHRONOUS = ("off", "normal", "full", "extra")  # as SQLite counts them


class Machine(BaseModel):
    """The machine that a run was on; memory in GiB."""

    cpu: str
    cores: int
    memory_gib: float
    system: str


class Database(BaseModel):
    """A kind of database, its version, and what its commits wait for."""

    kind: str
    version: str
    synchronous: str
    fsync: str


class Surroundings(BaseModel):
    """All that figures depend on, besides the code that is measured."""

    machine: Machine
    versions: dict[str, str]
    settings: dict[str, str]


def describe(running: System, database: peewee.Database) -> Surroundings:
    """Describe what a system runs on; `database` is one of its services'."""
    broker, found = broker_kind(running), describe_database(database)
    return Surroundings(
        machine=this_machine(),
        versions=versions(broker, found),
        settings={
            "broker": broker,
            "database": found.kind,
            "synchronous": found.synchronous,
            "fsync": found.fsync,
        },
    )


def this_machine() -> Machine:
    """Describe this machine."""
    return Machine(
        cpu=_cpu_model(),
        cores=psutil.cpu_count() or 1,
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        system=f"{platform.system()} {platform.release()}",
    )


def describe_database(database: peewee.Database) -> Database:
    """Ask a database what it is, and what is on disk once a commit has returned."""
    if isinstance(database, peewee.SqliteDatabase):
        level = SYNCHRONOUS[int(_ask(database, "PRAGMA synchronous"))]
        fsync = "on" if level in ("full", "extra") else "off"
        return Database(
            kind="sqlite", version=sqlite3.sqlite_version, synchronous=level, fsync=fsync
        )
    return Database(
        kind="postgresql",
        version=_ask(database, "SHOW server_version"),
        synchronous=_ask(database, "SHOW synchronous_commit"),
        fsync=_ask(database, "SHOW fsync"),
    )


def broker_kind(running: System) -> str:
    """Tell which broker a system has: `embedded`, `kafka`, or `another`, which it did not start."""
    pids = [process.pid for process in running.processes if process.kind == "broker"]
    if not pids or pids[0] is None:
        return "another"
    return KAFKA if psutil.Process(pids[0]).name() == "java" else EMBEDDED


def versions(broker: str, database: Database) -> dict[str, str]:
    """Return the versions of all that took part; a broker of somebody else's tells none."""
    found = {
        "saga-functions": version("saga-functions"),
        "python": platform.python_version(),
        database.kind: database.version,
    }
    if broker == EMBEDDED:
        found["broker"] = version("saga-functions-broker")
    if broker == KAFKA:
        found["broker"] = _kafka_version()
    return found


def _kafka_version() -> str:
    from saga.runtime.kafka.jars import pinned_jars  # brings an HTTP client along

    names = [jar.coordinates.split(":") for jar in pinned_jars()]
    return next(number for _, name, number in names if name == "kafka-server")


def _cpu_model() -> str:
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.exists() else []
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _ask(database: peewee.Database, question: str) -> str:
    [value] = database.execute_sql(question).fetchone()
    return str(value)
