"""Apps of adapters, each running on a port of its own, with an SQLite file for a database."""

import asyncio
import socket
import warnings
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sanic import Sanic

from saga.runtime import Saga
from saga.runtime.clock import utcnow
from saga.runtime.envelope import Envelope, Reply
from saga.runtime.saga_store import SagaRow, SagaStore
from saga.runtime.settings import Settings

with warnings.catch_warnings():
    # sanic-testing imports websockets' old interface.
    warnings.simplefilter("ignore", DeprecationWarning)
    from sanic_testing.reusable import ReusableClient

JSON = {"content-type": "application/json"}


class Api:
    """A running app, and requests to it."""

    def __init__(self, app: Sanic, client: ReusableClient, loop: asyncio.AbstractEventLoop) -> None:
        self.app, self.client, self.loop = app, client, loop

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        response = self.client.request(path, http_method=method, gather_request=False, **options)[1]
        assert response is not None
        return response

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.ask("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        return self.ask("POST", path, json=body, **options)

    def put(self, path: str, body: Any) -> httpx.Response:
        return self.ask("PUT", path, json=body)

    def delete(self, path: str) -> httpx.Response:
        return self.ask("DELETE", path)

    def send_text(self, method: str, path: str, text: str | bytes) -> httpx.Response:
        return self.ask(method, path, content=text, headers=JSON)

    def run(self, work: Awaitable[Any]) -> Any:
        return self.loop.run_until_complete(work)


@contextmanager
def run_app(app: Sanic) -> Iterator[Api]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    loop = asyncio.new_event_loop()
    try:
        with ReusableClient(app, port=port, loop=loop) as client:
            yield Api(app, client, loop)
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        # The test itself may have read tables, through a connection of its own thread.
        app.ctx.threads.database.close()
        asyncio.set_event_loop(None)
        loop.close()


class Broker:
    """Takes commands, and may answer each at once as the functions of a saga would."""

    def __init__(self, saga: Saga) -> None:
        self.saga = saga
        self.taken: list[Envelope] = []
        self.batches = 0
        self.replies: Callable[[Envelope], Reply | None] = lambda _: None

    def send(self, envelopes: Sequence[Envelope]) -> None:
        self.batches += 1
        self.taken += envelopes
        replies = [r for r in map(self.replies, envelopes) if r is not None]
        if replies:
            SagaStore(SagaRow._meta.database).advance(self.saga, replies, utcnow())
        SagaRow._meta.database.close()


@pytest.fixture(scope="session")
def running() -> Callable[[Sanic], AbstractContextManager[Api]]:
    return run_app


@pytest.fixture(scope="session")
def make_broker() -> type[Broker]:
    return Broker


@pytest.fixture
def start() -> Iterator[Callable[[Sanic], Api]]:
    with ExitStack() as stack:
        yield lambda app: stack.enter_context(run_app(app))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(saga_data=tmp_path)
