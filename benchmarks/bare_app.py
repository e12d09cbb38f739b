"""The order saga by hand: no runtime, and no more than the same promise needs.

    python -m benchmarks.bare_app STEP, or host, or adapter PORT

Each step is a process that takes commands from a topic of its own, and commits its effect together
with its answer, synced, before it replies. The saga's host commits a saga's row, synced, before it
sends the next command. The adapter takes orders over HTTP, and answers when their sagas end. There
is nothing else: no retry, time-out, cancel, history, dead letter, check of a message, metric or
trace, and nobody mends what a crash leaves.
"""

import asyncio
import json
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from sanic import HTTPResponse, Request, Sanic, response

from .peer_store import SERVICES, STEPS

REPLIES, ENDED = "replies", "ended"
FIRST = "create"
NEXT = {
    ("create", True): "reserve",
    ("reserve", True): "pay",
    ("reserve", False): "cancel",
    ("pay", True): "complete",
    ("pay", False): "release",
    ("release", True): "cancel",
}
ENDS = {"complete": "COMPLETED", "cancel": "CANCELLED"}
ORCHESTRATOR = "orchestrator"
INBOX = "CREATE TABLE inbox (id TEXT PRIMARY KEY, done INT) WITHOUT ROWID"
SAGAS = "CREATE TABLE sagas (id TEXT PRIMARY KEY, at TEXT, data TEXT) WITHOUT ROWID"
AT_ONCE = 500  # records in a batch
COMMIT_EVERY = 0.5  # seconds between two commits of offsets

Record = tuple[str, str, bytes]  # topic, key and value
folder = Path(os.environ.get("BENCHMARKS_FOLDER", "."))
broker = {"bootstrap.servers": os.environ.get("BENCHMARKS_BROKER", "")}


def create(where: Path) -> None:
    """Make the tables that are no service's own."""
    for service, table in {**dict.fromkeys(SERVICES, INBOX), ORCHESTRATOR: SAGAS}.items():
        connection = sqlite3.connect(where / f"{service}.db")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(table)
        connection.close()


def connect(service: str) -> sqlite3.Connection:
    """Open a service's file; each commit is synced."""
    connection = sqlite3.connect(folder / f"{service}.db", 30.0, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def known(connection: sqlite3.Connection, select: str, ids: Iterable[str]) -> dict[str, Any]:
    """Return what is there of some ids."""
    wanted = json.dumps(list(ids))
    return dict(connection.execute(f"{select} (SELECT value FROM json_each(?))", (wanted,)))


class Sender:
    """A producer."""

    def __init__(self) -> None:
        self._producer = Producer({**broker, "linger.ms": 0, "acks": "all"})

    def send(self, records: Sequence[Record]) -> None:
        """Hand records over."""
        for topic, key, value in records:
            self._producer.produce(topic, value, key)
        self._producer.poll(0)

    def flush(self) -> None:
        """Wait until the broker has them."""
        self._producer.flush()


def consume(topic: str, sender: Sender) -> Iterator[list[Any]]:
    """Yield the records of a topic in batches; their offsets follow what was sent for them."""
    options = {
        **broker,
        "group.id": topic,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "fetch.wait.max.ms": 500,
    }
    consumer = Consumer(options)
    consumer.subscribe([topic])
    committed = time.monotonic()
    while True:
        first = consumer.poll(COMMIT_EVERY)
        if first is not None:
            yield [first, *consumer.consume(AT_ONCE - 1, 0)]
            if time.monotonic() - committed >= COMMIT_EVERY:
                sender.flush()
                consumer.commit(asynchronous=True)
                committed = time.monotonic()


def work(step: str) -> None:
    """Carry out a step for whoever commands it; the same command again has the same answer."""
    service, statement = STEPS[step]
    connection, sender = connect(service), Sender()
    for batch in consume(step, sender):
        sagas = {message.key().decode(): message.value() for message in batch}
        ids = {f"{saga}:{step}": saga for saga in sagas}
        connection.execute("BEGIN IMMEDIATE")
        done = known(connection, "SELECT id, done FROM inbox WHERE id IN", ids)
        for one, saga in ids.items():
            if one not in done:
                order = json.loads(sagas[saga])
                done[one] = connection.execute(statement, order).rowcount
                connection.execute("INSERT INTO inbox VALUES (?, ?)", (one, done[one]))
        connection.execute("COMMIT")
        sender.send(
            [
                (REPLIES, saga, json.dumps({"step": step, "done": done[one] == 1}).encode())
                for one, saga in ids.items()
            ]
        )


def host() -> None:
    """Lead each saga to its next step, or its end, by the replies."""
    connection, sender = connect(ORCHESTRATOR), Sender()
    for batch in consume(REPLIES, sender):
        replies = {message.key().decode(): json.loads(message.value()) for message in batch}
        sent: list[Record] = []
        connection.execute("BEGIN IMMEDIATE")
        rows = known(connection, "SELECT id, json_array(at, data) FROM sagas WHERE id IN", replies)
        for saga, reply in replies.items():
            at, data = json.loads(rows[saga])
            if reply["step"] != at:
                continue  # a reply that has come before
            end = ENDS.get(at)
            then = end or NEXT[at, reply["done"]]
            connection.execute("UPDATE sagas SET at = ? WHERE id = ?", (then, saga))
            sent.append((ENDED, saga, end.encode()) if end else (then, saga, data.encode()))
        connection.execute("COMMIT")
        sender.send(sent)


def adapter(port: int) -> None:
    """Take orders over HTTP."""
    app, sender = Sanic("bare"), Sender()
    waiting: dict[str, asyncio.Future[str]] = {}
    new: list[tuple[str, str, str]] = []

    def start() -> None:
        connection: sqlite3.Connection = app.ctx.connection
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO sagas VALUES (?, ?, ?)", new)
        connection.execute("COMMIT")
        sender.send([(FIRST, saga, data.encode()) for saga, _, data in new])
        new.clear()

    async def place(request: Request) -> HTTPResponse:
        loop = asyncio.get_running_loop()
        saga = os.urandom(16).hex()
        waiting[saga] = end = loop.create_future()
        if not new:
            loop.call_soon(start)  # with the orders that come in the same moment
        new.append((saga, FIRST, request.body.decode()))
        return response.json(await end)

    def told(ended: Sequence[tuple[str, str]]) -> None:
        for saga, status in ended:
            waiting.pop(saga).set_result(status)

    def listen(loop: asyncio.AbstractEventLoop) -> None:
        consumer = Consumer({**broker, "group.id": ENDED, "fetch.wait.max.ms": 500})
        consumer.assign([TopicPartition(ENDED, 0, OFFSET_BEGINNING)])
        while True:
            if (first := consumer.poll(1)) is not None:
                batch = [first, *consumer.consume(AT_ONCE - 1, 0)]
                ended = [(m.key().decode(), m.value().decode()) for m in batch]
                loop.call_soon_threadsafe(told, ended)

    async def begin(app: Any) -> None:
        app.ctx.connection = connect(ORCHESTRATOR)
        loop = asyncio.get_running_loop()
        threading.Thread(target=listen, args=[loop], daemon=True).start()

    app.config.AUTO_EXTEND = False
    app.add_route(place, "/orders", ["POST"])
    app.before_server_start(begin)
    app.run("127.0.0.1", port, single_process=True, access_log=False, motd=False)


if __name__ == "__main__":
    role, *port = sys.argv[1:]
    if role == "adapter":
        adapter(int(*port))
    elif role == "host":
        host()
    else:
        work(role)
