"""The systems that the tests of real processes share: the orders, and two functions to deploy."""

from collections.abc import Callable, Iterator

import pytest

from saga.stacks.ledger import TABLES
from support.project import WRAP, Project, lay_out, make_gifts
from support.system import RunningSystem, run_system
from support.waiting import wait_until


# Of the module, not of the session: what one file did to it would be another one's surprise.
@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSystem]:
    """The order system."""
    with run_system(tmp_path_factory.mktemp("system")) as system:
        yield system


@pytest.fixture(scope="module")
def gifts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Two functions, and nothing else: they can do all that a deploy may do to a system."""
    folder = tmp_path_factory.mktemp("gifts")
    with run_system(folder, prepare=lambda system: make_gifts(lay_out(system))) as system:
        project = Project(system, folder)
        wait_until(lambda: project.deployments(WRAP), "what was started is recorded")
        yield project


@pytest.fixture(params=["embedded with SQLite", "Kafka with PostgreSQL"])
def start_either(
    request: pytest.FixtureRequest, start_system: Callable[..., RunningSystem]
) -> Callable[[], RunningSystem]:
    """Start the order system as on a laptop, or as docker-compose.yml has it."""
    if request.param == "embedded with SQLite":
        return start_system
    url = request.getfixturevalue("postgres_server").url_of_services(TABLES)

    def use_postgres(system: RunningSystem) -> None:
        system.database_url = url
        system.environment["SAGA_DATABASE_URL"] = url

    return lambda: start_system(broker="kafka", prepare=use_postgres)


@pytest.fixture
def kept(gifts: Project) -> Iterator[Project]:
    """The gifts, whose code is afterwards what it was."""
    paths = lambda: [*(gifts.root / "gift").glob("*.py"), *(gifts.root / "stacks").glob("*.toml")]  # noqa: E731
    files = {path: path.read_bytes() for path in paths()}
    yield gifts
    for path in paths():
        path.unlink()
    for path, data in files.items():
        path.write_bytes(data)
