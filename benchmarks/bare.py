"""The order saga written by hand on the same broker: what its shape costs without the runtime."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from confluent_kafka import __version__, libversion

from saga.runtime.kafka.admin import create_topics
from saga.runtime.kafka.embedded import HOST, free_port, start_embedded
from saga.runtime.settings import Settings

from . import bare_app
from .load import Api
from .peer_store import STEPS, PeerStore, fields, has_completed
from .processes import Command, running, wait_for_port
from .system import Running, System

SYNCS = "each service's SQLite file (synchronous full), once for each batch; the broker does not"


def bare(started_by: Command) -> System:
    """Return the system; `started_by` comes before the commands that start it."""
    return partial(_run, started_by)


@contextmanager
def _run(started_by: Command, folder: Path, _: Path) -> Iterator[Running]:
    store, log, port = PeerStore(folder), folder / "log", free_port()
    store.create()
    bare_app.create(folder)
    with ExitStack() as stack:
        stack.callback(store.close)
        broker_port = free_port()
        broker = start_embedded(broker_port, folder / "broker", log)
        stack.callback(broker.wait)
        stack.callback(broker.terminate)
        topics = dict.fromkeys((*STEPS, bare_app.REPLIES, bare_app.ENDED), 1)
        servers = f"{HOST}:{broker_port}"
        create_topics(Settings(kafka_bootstrap_servers=servers), topics)
        env = {"BENCHMARKS_FOLDER": str(folder), "BENCHMARKS_BROKER": servers}

        def start(*role: str) -> int:
            command = [*started_by, sys.executable, "-m", "benchmarks.bare_app", *role]
            return stack.enter_context(running(command, log, env))

        parts = {
            "broker": [broker.pid],
            "saga host": [start("host")],
            "adapters": [start("adapter", str(port))],
            "functions": [start(step) for step in STEPS],
        }
        wait_for_port(port, log)
        versions = {"confluent-kafka": __version__, "librdkafka": libversion()[0]}
        orders = Api(port, "/orders", "", fields, has_completed)
        yield Running(orders, parts, store.books, versions, SYNCS)
