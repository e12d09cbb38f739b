"""The fixtures that all suites share: the two databases of stores, and systems of processes."""

import os
import random
from collections.abc import Callable, Iterator
from typing import Any

import peewee
import pytest
from hypothesis import settings

from saga.runtime.database.connection import connect
from support.load import Traffic
from support.postgres import PostgresServer, run_server
from support.system import RunningSystem, copy_stacks
from support.waiting import wait_until

# The same examples on every laptop, others in every CI run. A busy machine is no failure.
settings.register_profile("fixed", deadline=None, derandomize=True, database=None)
settings.register_profile(
    "rotating", deadline=None, derandomize=False, database=None, print_blob=True
)
settings.load_profile("rotating" if os.environ.get("CI") else "fixed")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Choose the seed before hypothesis looks for it; the processes of xdist get it, too."""
    if os.environ.get("CI") and config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = str(random.randrange(10**9))


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Tell how to run the same examples again."""
    seed = config.option.hypothesis_seed
    return [] if seed is None else [f"examples: CI=1, --hypothesis-seed={seed}"]


@pytest.fixture(scope="session")
def until() -> Callable[..., Any]:
    """Wait for a condition, with a deadline."""
    return wait_until


@pytest.fixture(scope="session")
def make_system(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], RunningSystem]:
    """Lay out systems on ports of their own, without starting anything."""

    def make() -> RunningSystem:
        folder = tmp_path_factory.mktemp("system")
        ports = copy_stacks(folder / "stacks")
        return RunningSystem(folder / "data", folder / "stacks", ports)

    return make


@pytest.fixture(scope="session")
def start_system(
    make_system: Callable[[], RunningSystem],
) -> Iterator[Callable[..., RunningSystem]]:
    """Start systems, and stop them at the end whatever became of them."""
    started: list[RunningSystem] = []

    def start(
        broker: str = "embedded", prepare: Callable[[RunningSystem], object] = lambda _: None
    ) -> RunningSystem:
        system = make_system()
        started.append(system)
        prepare(system)
        system.saga("up", "--detach", "--broker", broker)
        return system

    yield start
    for system in started:
        system.saga("down", check=False)


@pytest.fixture(scope="session")
def system(start_system: Callable[[], RunningSystem]) -> RunningSystem:
    """One system that the tests share."""
    return start_system()


@pytest.fixture(scope="session")
def traffic() -> type[Traffic]:
    """Load on a system."""
    return Traffic


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server for this session."""
    with run_server() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_url(postgres_server: PostgresServer) -> str:
    return postgres_server.url()


@pytest.fixture
def sqlite() -> Iterator[peewee.Database]:
    """An empty SQLite database in memory."""
    database = connect("sqlite://")
    yield database
    database.close()


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[peewee.Database]:
    """An empty PostgreSQL database."""
    database = connect(postgres_url)
    database.execute_sql("SET client_min_messages = warning")
    database.execute_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    yield database
    database.close()


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> peewee.Database:
    """An empty database, on SQLite and on PostgreSQL."""
    return request.getfixturevalue(request.param)
