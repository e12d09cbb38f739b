"""Every app of the adapters, running on a port of its own, with an SQLite file for a database."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import pytest
from sanic import Sanic

from saga.functions.orchestrator.place_order import place_order
from saga.http import orchestrator, order, product, user
from saga.runtime.settings import Settings

Start = Callable[[Sanic], Any]


@pytest.fixture
def users(settings: Settings, start: Start) -> Any:
    return start(user.make_app(settings))


@pytest.fixture
def products(settings: Settings, start: Start) -> Any:
    return start(product.make_app(settings))


@pytest.fixture
def orders(settings: Settings, start: Start) -> Any:
    return start(order.make_app(settings))


@pytest.fixture
def broker(make_broker: Callable[..., Any]) -> Any:
    return make_broker(place_order)


@pytest.fixture
def sagas(settings: Settings, start: Start, broker: Any) -> Any:
    return start(orchestrator.make_app(settings, broker.send))


@pytest.fixture(scope="module")
def all_apis(
    tmp_path_factory: pytest.TempPathFactory,
    make_broker: Callable[..., Any],
    running: Callable[[Sanic], AbstractContextManager[Any]],
) -> Iterator[dict[str, Any]]:
    settings = Settings(saga_data=tmp_path_factory.mktemp("data"))
    broker = make_broker(place_order)
    with ExitStack() as stack:
        yield {
            "user": stack.enter_context(running(user.make_app(settings))),
            "product": stack.enter_context(running(product.make_app(settings))),
            "order": stack.enter_context(running(order.make_app(settings))),
            "orchestrator": stack.enter_context(
                running(orchestrator.make_app(settings, broker.send))
            ),
        }
