"""`saga create-databases` on a real PostgreSQL server."""

import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from saga.runtime.deploy.databases import (
    NotCreated,
    administrator,
    administrator_url,
    create_database,
)
from saga.runtime.errors import StackError
from saga.runtime.settings import Settings
from support.waiting import DEADLINE

SAGA = Path(sys.executable).with_name("saga")
NOWHERE = "postgresql://postgres@127.0.0.1:1/postgres"


@pytest.fixture
def names(postgres_server: Any) -> Iterator[tuple[str, str]]:
    """Two names that nothing on the server has, and does not keep."""
    found = f"shop_{secrets.token_hex(4)}", f"mill_{secrets.token_hex(4)}"
    yield found
    with psycopg.connect(postgres_server.url(), autocommit=True) as connection:
        for name in found:
            connection.execute(f"DROP DATABASE IF EXISTS {name}")
            connection.execute(f"DROP ROLE IF EXISTS {name}")


def asked(server: Any, query: str, *values: object) -> Any:
    with psycopg.connect(server.url()) as connection:
        row = connection.execute(query, values).fetchone()
    return row and row[0]


def url_of(server: Any, role: str, database: str) -> str:
    return f"postgresql://{role}@/{database}?host={server.folder}"


def make(server: Any, *names: str, password: str = "pw") -> None:
    with administrator(server.url()) as connection:
        for name in names:
            create_database(connection, name, password)


def test_a_role_owns_its_database_and_makes_tables_in_it(postgres_server, names) -> None:
    make(postgres_server, *names)
    own = url_of(postgres_server, names[0], names[0])
    with psycopg.connect(own) as connection:
        connection.execute("CREATE TABLE bread (id int)")
        assert connection.execute("SELECT current_user").fetchone() == (names[0],)
    privileges = "SELECT rolcanlogin AND NOT (rolsuper OR rolcreatedb OR rolcreaterole)"
    assert asked(postgres_server, f"{privileges} FROM pg_roles WHERE rolname = %s", names[0])


def test_no_other_role_gets_in(postgres_server, names) -> None:
    make(postgres_server, *names)
    for role, database, may in [
        (names[0], names[0], True),
        (names[0], names[1], False),
        (names[1], names[0], False),
        (names[1], names[1], True),
    ]:
        query = "SELECT has_database_privilege(%s, %s, 'CONNECT')"
        assert asked(postgres_server, query, role, database) is may
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(url_of(postgres_server, names[1], names[0]))


def test_doing_it_again_keeps_the_data_and_sets_the_password(postgres_server, names) -> None:
    make(postgres_server, *names, password="old")
    with psycopg.connect(url_of(postgres_server, names[0], names[0])) as connection:
        connection.execute("CREATE TABLE bread AS SELECT 7 AS id")
    query = "SELECT rolpassword FROM pg_authid WHERE rolname = %s"
    old = asked(postgres_server, query, names[0])
    make(postgres_server, *names, password="new")
    assert asked(postgres_server, query, names[0]) != old
    with psycopg.connect(url_of(postgres_server, names[0], names[0])) as connection:
        assert connection.execute("SELECT id FROM bread").fetchone() == (7,)


def test_administrators_password_that_is_not_coded_is_told_to_nobody() -> None:
    url = "postgresql://admin:s@cret@host.invalid/db"
    told = pytest.raises(NotCreated, match="SAGA_ADMIN_URL is not the URL")
    with told as refusal, administrator(url, timeout=0.1):
        pass
    assert "cret" not in str(refusal.value)


def test_what_was_left_half_made_is_completed(postgres_server, names) -> None:
    with psycopg.connect(postgres_server.url(), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {names[0]}")
        connection.execute(f"CREATE DATABASE {names[1]}")
    make(postgres_server, *names)
    for name in names:
        with psycopg.connect(url_of(postgres_server, name, name)) as connection:
            connection.execute("CREATE TABLE bread (id int)")


def test_only_a_hash_of_the_password_reaches_the_server(postgres_server, names) -> None:
    password = 'it\'s \\ % "geheim" ü ' + secrets.token_hex(4)
    with administrator(postgres_server.url()) as connection:
        connection.execute("SET log_statement = 'all'")
        create_database(connection, names[0], password)
    assert "ALTER ROLE" in (log := (postgres_server.folder / "log").read_text())
    assert password[-8:] not in log
    stored = asked(
        postgres_server, "SELECT rolpassword FROM pg_authid WHERE rolname = %s", names[0]
    )
    assert stored.startswith("SCRAM-SHA-256$")


def test_several_at_once_make_it_once(postgres_server, names) -> None:
    failures: list[BaseException] = []

    def run() -> None:
        try:
            make(postgres_server, *names)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    query = "SELECT count(*) FROM pg_database WHERE datname = ANY(%s)"
    assert asked(postgres_server, query, list(names)) == 2


@pytest.mark.parametrize("name", ["postgres", "template0", "template1", "pg_shop"])
def test_what_is_the_servers_own_is_not_taken(postgres_server, name) -> None:
    with administrator(postgres_server.url()) as connection, pytest.raises(StackError, match=name):
        create_database(connection, name, "pw")


def test_the_administrators_role_is_not_taken(postgres_server) -> None:
    with (
        administrator(postgres_server.url()) as connection,
        pytest.raises(NotCreated, match="administrator"),
    ):
        create_database(connection, "saga", "pw")


def test_a_role_that_may_not_create_is_told_why(postgres_server, names) -> None:
    make(postgres_server, names[0])
    with (
        administrator(url_of(postgres_server, names[0], names[0])) as connection,
        pytest.raises(NotCreated, match=f"{names[1]}: permission denied to create role"),
    ):
        create_database(connection, names[1], "pw")


def test_a_server_that_does_not_answer_is_given_up() -> None:
    with pytest.raises(NotCreated, match="Connection refused"), administrator(NOWHERE, 0.5):
        pass


@pytest.mark.parametrize("url", ["postgresql://u:p%zzsecret@db/x", "nonsense secret", "://"])
def test_a_wrong_url_is_not_repeated(url) -> None:
    with pytest.raises(NotCreated, match="SAGA_ADMIN_URL") as raised, administrator(url, 0.5):
        pass
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("password", ["simple", "p@ss:w/ord?%#&{x} ü$", ""])
def test_the_administrators_password_is_filled_in(monkeypatch, tmp_path, password) -> None:
    monkeypatch.setenv("SAGA_SECRETS", str(tmp_path))
    monkeypatch.delenv("POSTGRES_PASSWORD", raising=False)
    (tmp_path / "SAGA_ADMIN_URL").write_text("postgresql://postgres:{password}@db/postgres\n")
    (tmp_path / "POSTGRES_PASSWORD").write_text(f"{password}\n")
    parts = psycopg.conninfo.conninfo_to_dict(administrator_url())
    assert parts.get("password", "") == password
    assert (parts["user"], parts["host"], parts["dbname"]) == ("postgres", "db", "postgres")


def run_command(stacks: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SAGA, "create-databases"],
        env={"SAGA_STACKS": str(stacks), "PATH": "/usr/bin", **environment},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )


def test_the_command_makes_the_stacks_databases(postgres_server, names, tmp_path) -> None:
    for name in names:
        (tmp_path / f"{name}.toml").write_text(
            f'service = "s_{name}"\npackage = "shop"\ndatabase = "{name}"\n'
        )
    environment = {"SAGA_ADMIN_URL": postgres_server.url()}
    done = run_command(tmp_path, **environment)
    assert "no secret" in done.stderr
    assert "_DATABASE_PASSWORD" in done.stderr
    for name in names:
        environment[f"{name.upper()}_DATABASE_PASSWORD"] = "s3cret-" + secrets.token_hex(4)
    done = run_command(tmp_path, **environment)
    assert sorted(done.stdout.splitlines()) == sorted(
        f"{name}: the database and its role are ready" for name in names
    )
    assert (done.returncode, done.stderr) == (0, "")
    url = Settings(saga_database_url=SecretStr(url_of(postgres_server, "{service}", "{service}")))
    with psycopg.connect(url.database_url(names[0])) as connection:
        connection.execute("CREATE TABLE bread (id int)")


def test_the_command_says_which_secret_is_missing(tmp_path) -> None:
    stack = 'service = "shop"\npackage = "shop"\ndatabase = "shop"\n'
    (tmp_path / "shop.toml").write_text(stack)
    done = run_command(tmp_path, SAGA_SECRETS=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("saga: no secret SAGA_ADMIN_URL")
