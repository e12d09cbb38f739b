"""The order saga on Restate: its server, and the Python SDK behind granian."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

import httpx

from saga.runtime.kafka.embedded import HOST, free_port
from saga.runtime.polling import poll_until

from . import peers
from .load import Api
from .peer_store import PeerStore, fields, has_completed
from .processes import START_TIMEOUT, Command, Failed, running, wait_for_port
from .system import Running, System

# One partition: on a machine of two cores, the 24 of the default are slower.
CONFIGURATION = """\
roles = ["http-ingress", "admin", "worker", "log-server", "metadata-server"]
disable-telemetry = true
listen-mode = "tcp"
bind-ip = "127.0.0.1"
bind-port = {node}
default-num-partitions = 1
log-filter = "warn"
[ingress]
bind-port = {ingress}
[admin]
bind-port = {admin}
disable-web-ui = true
"""
GRANIAN = ["--interface", "asgi", "--http", "2", "--loop", "uvloop", "--no-ws"]
GRANIAN += ["--log-level", "error", "--host", HOST, "--workers-kill-timeout", "1"]
SYNCS = "its log (fsync, its default), once for several writes; the services' SQLite files are not"


def restate(handler: str, started_by: Command = ()) -> System:
    """Return the system that carries out orders by `alone`, one service, or `calls`, four.

    `started_by` comes before the commands that start it: `chrt --batch 0` makes it batch work.
    """
    return partial(_run, handler, started_by)


@contextmanager
def _run(handler: str, started_by: Command, folder: Path, peers_folder: Path) -> Iterator[Running]:
    store = PeerStore(folder)
    store.create()
    ports = {name: free_port() for name in ("node", "ingress", "admin", "app")}
    file = folder / "restate.toml"
    file.write_text(CONFIGURATION.format(**ports))
    server: Command = [
        *started_by,
        peers.restate_server(peers_folder),
        "-c",
        file,
        "--base-dir",
        folder / "data",
    ]
    granian: Command = [*started_by, peers.python_of(peers_folder), "-m", "granian", *GRANIAN]
    app: Command = [*granian, "--port", str(ports["app"]), "benchmarks.restate_app:app"]
    log = folder / "log"
    with ExitStack() as stack:
        stack.callback(store.close)
        env = {"BENCHMARKS_FOLDER": str(folder)}
        app_pid = stack.enter_context(running(app, log, env))
        # Ended first: granian waits for those who have a connection.
        server_pid = stack.enter_context(running(server, log))
        wait_for_port(ports["app"], log)
        wait_for_port(ports["ingress"], log)
        _register(ports["admin"], ports["app"], log)
        yield Running(
            Api(ports["ingress"], f"/orchestrator/{handler}", "", fields, has_completed),
            {"server": [server_pid], "services": [app_pid]},
            store.books,
            _versions(),
            SYNCS,
        )


def _register(admin: int, app: int, log: Path) -> None:
    """Tell the server where the services are; raise `Failed` if it does not take it."""

    def is_taken() -> bool:
        with suppress(httpx.TransportError):
            deployment = {"uri": f"http://{HOST}:{app}"}
            return httpx.post(f"http://{HOST}:{admin}/deployments", json=deployment).is_success
        return False

    if not poll_until(is_taken, START_TIMEOUT, every=0.3):
        raise Failed(f"Restate takes no deployment: see {log}")


def _versions() -> dict[str, str]:
    found = {name: peers.version(name) for name in ("restate-sdk", "granian")}
    return {"restate-server": peers.RESTATE_SERVER, **found}
