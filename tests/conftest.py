"""The fixtures that all suites share: the two databases of stores, and systems of processes."""

import gc
import os
import random
import shutil
import signal
import sys
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import peewee
import pytest
from hypothesis import settings

from saga.runtime.database.connection import connect
from support.load import Traffic
from support.postgres import PostgresServer, run_server
from support.system import RunningSystem, lay_out, run_system
from support.traced import begin_patiently
from support.waiting import wait_until

# httpcore looks for it at each request, which takes longer where it is not than all the rest.
sys.modules.setdefault("sniffio", None)

# The same examples on every laptop, others in every CI run, and more. A busy machine is no failure.
settings.register_profile("fixed", deadline=None, derandomize=True, database=None, max_examples=50)
settings.register_profile(
    "rotating", deadline=None, derandomize=False, database=None, print_blob=True
)
settings.load_profile("rotating" if os.environ.get("CI") else "fixed")


# Of the tests alone. Processes of xdist start as this one does, and so are told of the first only.
PLUGINS = ["schemathesis", "hypothesispytest", "xdist", "xdist.looponfail", "timeout", "anyio"]
WAITING = {"contract", "docker", "docs", "integration", "stacks", "system"}
SPREAD = 0.6  # of the computing files, over which those that wait are spread
MEMORY = Path("/dev/shm")
ROOM = 4 * 2**30  # bytes


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Choose the seed before hypothesis looks for it; the processes of xdist get it, too."""
    if os.environ.get("CI") and config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = str(random.randrange(10**9))
    # In what tests start, too: most of the time of a pytest goes into plugins that no user has.
    unused = PLUGINS[:1] if config.getoption("numprocesses", None) else PLUGINS
    os.environ["PYTEST_ADDOPTS"] = " ".join(f"-p no:{plugin}" for plugin in unused)
    if "TMPDIR" not in os.environ and _may_keep_files_in_memory():
        # On a disk, a thousand databases wait for its syncs, and as many folders for free inodes.
        os.environ["TMPDIR"] = str(MEMORY)
    os.environ["SAGA_METRICS_PORT"] = "0"  # systems side by side can't all have one port
    begin_patiently()
    # A shell without job control lets its background ignore Ctrl-C, and so all that tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _may_keep_files_in_memory() -> bool:
    if not os.access(MEMORY, os.W_OK) or os.statvfs(MEMORY).f_flag & os.ST_NOEXEC:
        return False
    return shutil.disk_usage(MEMORY).free > ROOM


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Let the garbage collector never look at what is imported here, which is a lot and stays.

    Of the rest, it looks at as much together as in a process of a system.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
        gc.set_threshold(20_000)  # objects


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Spread the files of folders that wait for processes over the time in which others compute.

    Else all processes of xdist would wait at a time, and then all compute. The file that waits
    for longest comes first. Files that are named run in that order.
    """
    if any(argument.endswith(".py") for argument in config.args):
        return
    files = dict.fromkeys(item.path for item in items)
    groups: defaultdict[str, list[Path]] = defaultdict(list)
    for file in files:
        groups[file.parent.name if file.parent.name in WAITING else ""].append(file)
    place = {
        file: number / len(group) * (SPREAD if folder else 1.0)
        for folder, group in groups.items()
        for number, file in enumerate(group)
    }
    place |= {file: -1.0 for file in files if file.name == "test_saga_events.py"}
    items.sort(key=lambda item: place[item.path])


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

    return lambda: lay_out(tmp_path_factory.mktemp("system"))


@pytest.fixture(scope="module")
def start_system(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., RunningSystem]]:
    """Start systems, and stop them at the module's end whatever became of them."""
    with ExitStack() as systems:
        yield lambda **options: systems.enter_context(
            run_system(tmp_path_factory.mktemp("system"), **options)
        )


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


@pytest.fixture(scope="session")
def _connected(postgres_url: str) -> Iterator[peewee.Database]:
    """A connection that tests share: one that is new takes as much of the server as most tests."""
    database = connect(postgres_url)
    yield database
    database.close()


@pytest.fixture
def postgres(_connected: peewee.Database) -> Iterator[peewee.Database]:
    """An empty PostgreSQL database."""
    _connected.execute_sql("DISCARD ALL")
    _connected.execute_sql("SET client_min_messages = warning")
    _connected.execute_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    yield _connected
    if _connected.in_transaction() or _connected.connection().closed:
        _connected.close()


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> peewee.Database:
    """An empty database, on SQLite and on PostgreSQL."""
    return request.getfixturevalue(request.param)
