"""The apps of the adapters, one of each for all tests of a file; each test finds it empty."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache

import pytest

from saga.functions.orchestrator.place_order import place_order
from saga.http import orchestrator, order, product, user
from saga.runtime.settings import Settings
from saga.runtime.web import App
from saga.runtime.web.repeats import RequestKey
from saga.stacks.ledger import TABLES
from support.api import Api, Broker, empty, run_app

Serve = Callable[[str], Api]
MORE_TABLES = {"user": [RequestKey], "product": [RequestKey]}


@pytest.fixture(scope="module")
def shared_broker() -> Broker:
    return Broker(place_order)


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory, shared_broker: Broker) -> Iterator[Serve]:
    """Start a service's app when it is first asked for."""
    settings = Settings(saga_data=tmp_path_factory.mktemp("data"))
    apps: dict[str, Callable[[], App]] = {
        "user": lambda: user.make_app(settings),
        "product": lambda: product.make_app(settings),
        "order": lambda: order.make_app(settings),
        "orchestrator": lambda: orchestrator.make_app(settings, shared_broker.send),
    }
    with ExitStack() as stack:
        yield cache(lambda service: stack.enter_context(run_app(apps[service]())))


@pytest.fixture
def all_apis(serve: Serve) -> dict[str, Api]:
    return {service: serve(service) for service in TABLES}


@pytest.fixture
def users(serve: Serve) -> Api:
    return emptied(serve, "user")


@pytest.fixture
def products(serve: Serve) -> Api:
    return emptied(serve, "product")


@pytest.fixture
def orders(serve: Serve) -> Api:
    return emptied(serve, "order")


@pytest.fixture
def sagas(serve: Serve, broker: Broker) -> Api:
    return emptied(serve, "orchestrator")


@pytest.fixture
def broker(shared_broker: Broker) -> Broker:
    shared_broker.forget()
    return shared_broker


def emptied(serve: Serve, service: str) -> Api:
    """Return a service without rows."""
    api = serve(service)
    empty(api, [*TABLES[service], *MORE_TABLES.get(service, [])])
    return api
