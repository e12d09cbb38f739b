"""A PostgreSQL server of the tests' own."""

import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from benchmarks.postgres import server_account, server_programs
from benchmarks.processes import Failed
from support.missing import missing

HOST = "127.0.0.1"


def postgres_programs() -> Path:
    """Return the folder of initdb and pg_ctl; skip where there is none, but fail in CI."""
    try:
        return server_programs()
    except Failed as reason:
        missing(str(reason))


@dataclass
class PostgresServer:
    """A PostgreSQL server, reached by its socket, or where it has a port, there."""

    folder: Path
    programs: Path
    account: str | None
    port: int | None = None

    def url(self, database: str = "postgres", port: int | None = None) -> str:
        """Lead to one of its databases, perhaps through a port of somebody between."""
        if through := port or self.port:
            return f"postgresql://saga@{HOST}:{through}/{database}"
        return f"postgresql://saga@/{database}?host={self.folder}"

    def url_of_services(self, services: Iterable[str]) -> str:
        """Create a new database for each service; `{service}` stands for its name in their URL."""
        run = secrets.token_hex(4)
        with closing(psycopg.connect(self.url(), autocommit=True)) as connection:
            for service in services:
                connection.execute(f'CREATE DATABASE "{run}_{service}"')
        return self.url(f"{run}_{{service}}")

    def create(self) -> None:
        """Make the files of an empty server."""
        if self.account is not None:
            shutil.chown(self.folder, self.account)
        self._run("initdb", "-U", "saga", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")

    def start(self) -> None:
        """Start it and wait until it answers."""
        listen = f"-h {HOST} -p {self.port}" if self.port else "-c listen_addresses="
        options = f"-k {self.folder} {listen} -c fsync=off -c shared_buffers=16MB"
        self._run("pg_ctl", "-w", "-o", options, "start")

    def stop(self) -> None:
        """Stop it at once, as a crash would."""
        self._run("pg_ctl", "-w", "-m", "immediate", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.programs / program), "-D", str(self.folder / "data"), *arguments]
        with (self.folder / "log").open("a") as log:
            done = subprocess.run(
                command,
                user=self.account,
                extra_groups=None if self.account is None else [],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        if done.returncode:
            pytest.fail(f"{program} failed: {(self.folder / 'log').read_text()[-2000:]}")


@contextmanager
def run_server(port: int | None = None) -> Iterator[PostgresServer]:
    """Run a server that is gone without a trace in the end."""
    programs, account = postgres_programs(), server_account()
    folder = Path(tempfile.mkdtemp(prefix="saga-postgres-"))  # pytest's own is closed to others
    server = PostgresServer(folder, programs, account, port)
    try:
        server.create()
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)
