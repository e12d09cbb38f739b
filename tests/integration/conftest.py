"""Systems as users run them: on a laptop, and as docker-compose.yml has them."""

from collections.abc import Callable

import pytest

from saga.stacks.ledger import TABLES
from support.system import RunningSystem


@pytest.fixture(params=["embedded with SQLite", "Kafka with PostgreSQL"])
def start_either(
    request: pytest.FixtureRequest, start_system: Callable[..., RunningSystem]
) -> Callable[[], RunningSystem]:
    """Start a system on the embedded broker with SQLite, or on Apache Kafka with PostgreSQL."""
    if request.param == "embedded with SQLite":
        return start_system
    url = request.getfixturevalue("postgres_server").url_of_services(TABLES)

    def use_postgres(system: RunningSystem) -> None:
        system.database_url = url
        system.environment["SAGA_DATABASE_URL"] = url

    return lambda: start_system("kafka", use_postgres)
