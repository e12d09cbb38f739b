"""An adapter's app, running on a port of its own, and requests to it."""

import asyncio
import warnings
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import peewee
from sanic import Sanic

from saga.runtime import Saga, Table
from saga.runtime.clock import utcnow
from saga.runtime.envelope import Envelope, Reply
from saga.runtime.saga_rows import SagaRow
from saga.runtime.saga_store import SagaStore
from support.described import check_answer
from support.ports import free_port

with warnings.catch_warnings():
    # sanic-testing imports websockets' old interface.
    warnings.simplefilter("ignore", DeprecationWarning)
    from sanic_testing.reusable import ReusableClient

JSON = {"content-type": "application/json"}
NUMBERS = "sqlite_sequence"


class Api:
    """A running app, and requests to it: each answer has to be as its document describes it."""

    def __init__(
        self, app: Sanic[Any, Any], client: ReusableClient, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.app, self.client, self.loop = app, client, loop

    def ask(self, method: str, path: str, *, described: bool = True, **options: Any) -> Any:
        response = self.client.request(path, http_method=method, gather_request=False, **options)[1]
        assert response is not None
        if described:
            check_answer(self.app.ctx.document(), response)
        return response

    def get(self, path: str, **options: Any) -> Any:
        return self.ask("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> Any:
        return self.ask("POST", path, json=body, **options)

    def put(self, path: str, body: Any, **options: Any) -> Any:
        return self.ask("PUT", path, json=body, **options)

    def delete(self, path: str, **options: Any) -> Any:
        return self.ask("DELETE", path, **options)

    def send_text(self, method: str, path: str, text: str | bytes) -> Any:
        return self.ask(method, path, content=text, headers=JSON)

    def send_bytes(self, sent: bytes) -> bytes:
        """Send bytes as they are, on a connection of their own; return all that comes back."""

        async def exchange() -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.client.port)
            writer.write(sent)
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
            return answer

        received: bytes = self.run(exchange())
        return received

    def post_many(self, path: str, bodies: Sequence[Any]) -> list[httpx.Response]:
        """Post all of them at the same time."""
        url = f"http://{self.client.host}:{self.client.port}{path}"
        session = self.client._session

        async def post() -> list[httpx.Response]:
            return list(await asyncio.gather(*(session.post(url, json=body) for body in bodies)))

        responses: list[httpx.Response] = self.run(post())
        for response in responses:
            check_answer(self.app.ctx.document(), response)
        return responses

    def run(self, work: Awaitable[Any]) -> Any:
        return self.loop.run_until_complete(work)


@contextmanager
def run_app(app: Sanic[Any, Any]) -> Iterator[Api]:
    """Run an app until the end of the block."""
    loop = asyncio.new_event_loop()
    app.config.TOUCHUP = False  # what makes its methods quicker takes a third of each start
    try:
        with ReusableClient(app, port=free_port(), loop=loop) as client:
            yield Api(app, client, loop)
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        # The test itself may have read tables, through a connection of its own thread.
        app.ctx.threads.database.close()
        asyncio.set_event_loop(None)
        loop.close()


def empty(api: Api, tables: Sequence[type[Table]]) -> None:
    """Let a running app have no rows; its tables may have been another app's meanwhile."""
    database: peewee.Database = api.app.ctx.threads.database
    database.bind(tables)
    with database.atomic():
        for table in tables:
            table.delete().execute()
        # Where SQLite remembers the ids that it gave, they begin again.
        if database.execute_sql(f"SELECT 1 FROM sqlite_master WHERE name = '{NUMBERS}'").fetchone():
            database.execute_sql(f"DELETE FROM {NUMBERS}")


class Broker:
    """Takes commands, and may answer each at once as the functions of a saga would."""

    def __init__(self, saga: Saga) -> None:
        self.saga = saga
        self.forget()

    def forget(self) -> None:
        """Be as new."""
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
