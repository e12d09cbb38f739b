"""A PostgreSQL server as it comes, with all that it syncs, in a folder, for as long as a block."""

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psycopg

from .processes import Failed, run

CONNECTIONS = 300  # more than by default, for fourteen processes


class Server(NamedTuple):
    """A server: its first process, and the folder of its socket."""

    pid: int
    socket: Path

    def url(self, database: str) -> str:
        """Lead to one of its databases."""
        return f"postgresql://saga@/{database}?host={self.socket}"

    def create(self, *databases: str) -> None:
        """Make empty databases."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            for name in databases:
                connection.execute(f'CREATE DATABASE "{name}"'.encode())


@contextmanager
def server(folder: Path) -> Iterator[Server]:
    """Run a server, with its data in `folder`; raise `Failed` if there is none installed."""
    programs, account = server_programs(), server_account()
    data = folder / "postgres"
    data.mkdir()
    # The path of a socket has 107 characters at most.
    socket = Path(tempfile.mkdtemp(prefix="benchmarks-"))
    if account is not None:
        shutil.chown(data, account)
        shutil.chown(socket, account)

    def control(program: str, *arguments: str) -> None:
        run([programs / program, "-D", str(data), *arguments], user=account, folder=data)

    options = f"-k {socket} -c listen_addresses= -c max_connections={CONNECTIONS}"
    try:
        control("initdb", "-U", "saga", "-A", "trust", "-E", "UTF8", "--no-locale")
        control("pg_ctl", "-w", "-l", str(data / "log"), "-o", options, "start")
        try:
            yield Server(int((data / "postmaster.pid").read_text().split()[0]), socket)
        finally:
            control("pg_ctl", "-w", "-m", "fast", "stop")
    finally:
        shutil.rmtree(socket)


def server_programs() -> Path:
    """Return the folder of initdb and pg_ctl; raise `Failed` where there is none."""
    folders = [*Path("/usr/lib/postgresql").glob("*/bin")]
    if on_path := shutil.which("initdb"):
        folders.append(Path(on_path).resolve().parent)
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "pg_ctl").exists():
            return folder
    raise Failed("PostgreSQL's server programs are missing: apt-get install postgresql")


def server_account() -> str | None:
    """Return the account to run a server as: PostgreSQL refuses to be root's."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in names)
