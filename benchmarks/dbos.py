"""The order saga on DBOS, which remembers it in PostgreSQL; two processes behind granian."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from saga.runtime.database.connection import connect
from saga.runtime.kafka.embedded import HOST, free_port
from saga.stacks.surroundings import describe_database

from . import peers, postgres
from .load import Api
from .peer_store import PeerStore, fields, has_completed
from .processes import Command, run, running, wait_for_port
from .system import Running

GRANIAN = ["--interface", "asgi", "--loop", "uvloop", "--no-ws", "--log-level", "error"]
GRANIAN += ["--workers", "2", "--host", HOST]


@contextmanager
def dbos(folder: Path, peers_folder: Path) -> Iterator[Running]:
    """Run it on a server of its own."""
    store = PeerStore(folder)
    store.create()
    python, port, log = peers.python_of(peers_folder), free_port(), folder / "log"
    with ExitStack() as stack:
        stack.callback(store.close)
        server = stack.enter_context(postgres.server(folder))
        server.create("dbos")
        url = server.url("dbos")
        env = {"BENCHMARKS_FOLDER": str(folder), "BENCHMARKS_DATABASE": url}
        run([python, "-m", "benchmarks.dbos_app"], env)
        granian: Command = [python, "-m", "granian", *GRANIAN, "--port", str(port)]
        app = stack.enter_context(running([*granian, "benchmarks.dbos_app:app"], log, env))
        wait_for_port(port, log)
        database = connect(url)
        described = describe_database(database)
        database.close()
        yield Running(
            Api(port, "/orders", "", fields, has_completed),
            {"app": [app], "postgresql": [server.pid]},
            store.books,
            {
                "dbos": peers.version("dbos"),
                "granian": peers.version("granian"),
                "postgresql": described.version,
            },
            f"PostgreSQL (fsync {described.fsync}, synchronous_commit {described.synchronous}), "
            "once for each step; the services' SQLite files are not",
        )
