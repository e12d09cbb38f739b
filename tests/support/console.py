"""A running console, asked as by a browser whose page it is, or as another site makes it ask."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from saga.runtime.address import listen
from saga.runtime.clock import utcnow
from saga.runtime.console.mounting import mount
from saga.runtime.envelope import Action, Outcome, Reply
from saga.runtime.metrics.exposition import MetricsServer
from saga.runtime.saga_rows import SagaRow
from saga.runtime.saga_store import TABLES, SagaStore, Start
from saga.runtime.settings import Settings
from saga.runtime.system.process import ProcessInfo
from saga.runtime.system.state import System, lock_system, write_system
from saga.runtime.web.app import new_app
from saga.runtime.web.sagas import saga_blueprint
from support.api import Api, Broker, run_app
from support.told import OrderCake, order_cake

BROKER = Broker(order_cake)
TOKEN = "t" * 43

FORGED: dict[str, dict[str, Any]] = {
    "another origin": {"origin": "http://evil.example"},
    "another port": {"origin": "http://127.0.0.1:1"},
    "a page that hides": {"origin": "null"},
    "no origin": {"origin": None},
    "another site": {"sec_fetch_site": "cross-site"},
    "a site beside": {"sec_fetch_site": "same-site"},
    "no cookie": {"cookie": ""},
    "another token": {"token": "u" * 43},
    "no token": {"token": ""},
    "neither": {"token": "", "cookie": ""},
    "a name that leads here": {"host": "evil.example", "origin": "http://evil.example"},
}


class Console:
    """A running console, asked as by a browser whose page it is."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.host = f"127.0.0.1:{api.client.port}"

    def get(self, path: str, **headers: str) -> Any:
        """Ask for a page."""
        return self.api.ask("GET", f"/console{path}", described=False, headers=headers)

    def bytes_of(self, path: str, fields: dict[str, str]) -> bytes:
        """Return the request of a form as it is sent."""
        body = urlencode({"token": TOKEN, **fields})
        sent = {"host": self.host, **self._sent(TOKEN), "content-length": len(body)}
        lines = [f"{name}: {value}" for name, value in sent.items()]
        return "\r\n".join([f"POST /console{path} HTTP/1.1", *lines, "", body]).encode()

    def post(self, path: str, *, token: str = TOKEN, cookie: str = TOKEN, **headers: Any) -> Any:
        """Send a form."""
        fields = headers.pop("fields", {})
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = self._sent(cookie) | given
        return self.api.ask(
            "POST",
            f"/console{path}",
            described=False,
            headers={name: value for name, value in sent.items() if value is not None},
            content=urlencode({"token": token, **fields}),
            follow_redirects=False,
        )

    def _sent(self, cookie: str) -> dict[str, Any]:
        return {
            "origin": f"http://{self.host}",
            "content-type": "application/x-www-form-urlencoded",
            "cookie": f"saga_console={cookie}",
        }


def start(folder: Path, **settings: Any) -> AbstractContextManager[Api]:
    """Run an app with a console until the end of a block."""
    made = Settings(saga_data=folder, **settings)
    app = new_app(
        "bakery", made, TABLES, saga_blueprint(order_cake, path="/cakes", send=BROKER.send)
    )
    mount(app, made)
    return run_app(app)


def begin(sagas: SagaStore, number: int = 1, cake: str = "Tart", at: datetime | None = None) -> str:
    """Start a saga with the id of a number."""
    saga_id = str(UUID(int=number))
    sagas.start(order_cake, [Start(saga_id, OrderCake(cake=cake))], at or utcnow())
    return saga_id


def answer(
    sagas: SagaStore,
    saga_id: str,
    step: str,
    action: Action = "do",
    outcome: Outcome = "done",
    data: str = "{}",
    attempt: int = 1,
) -> None:
    """Answer a command."""
    reply = Reply(saga_id, step, action, outcome, attempt, data)
    sagas.advance(order_cake, [reply], utcnow())


def fail(sagas: SagaStore, saga_id: str) -> None:
    """Let the undo of the first step be refused."""
    no = '{"code": "no", "message": "no, thank you"}'
    answer(sagas, saga_id, "bake")
    answer(sagas, saga_id, "sell", outcome="rejected", data=no)
    answer(sagas, saga_id, "bake", "undo", "rejected", no)


def status_of(saga_id: str) -> str:
    """Return how a saga stands."""
    return str(SagaRow.get(SagaRow.id == saga_id).status)


class Metrics(Collector):
    """What the process for metrics serves: the samples of a text, as it is at a scrape."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.process = ProcessInfo(name="metrics", kind="metrics", state="ready")

    def collect(self) -> Iterator[Metric]:
        """Return what is served now."""
        return iter([*text_string_to_metric_families(self.text)])


@contextmanager
def serve_metrics(text: str) -> Iterator[Metrics]:
    """Serve metrics on a port of their own until the end of a block."""
    metrics, registry = Metrics(text), CollectorRegistry()
    registry.register(metrics)
    listening = listen("127.0.0.1", 0)
    metrics.process.port = listening.getsockname()[1]
    server = MetricsServer(registry, listening)
    try:
        yield metrics
    finally:
        server.close()


class Supervised:
    """A data directory on which a system runs, as far as anybody can tell from its files."""

    def __init__(self, data: Path) -> None:
        self.data, self.stacks = data, data.parent / f"{data.name}-stacks"
        self.stacks.mkdir()

    def declare(self, service: str, functions: str = "", sagas: str = "") -> None:
        """Write a stack file."""
        entries = [f"[functions.{name}]\n" for name in functions.split()]
        entries += [f"[sagas.{name}]\n" for name in sagas.split()]
        text = f'service = "{service}"\npackage = "x"\ndatabase = "x"\n{"".join(entries)}'
        (self.stacks / f"{service}.toml").write_text(text)

    def publish(self, *processes: ProcessInfo) -> None:
        """Say which processes there are."""
        there = [*processes]
        write_system(self.data, System(broker="x:1", stacks=self.stacks, processes=there))


@contextmanager
def supervised(data: Path) -> Iterator[Supervised]:
    """Hold a data directory as a supervisor does, until the end of a block."""
    with lock_system(data):
        yield Supervised(data)


def process(name: str, number: int = 1, **more: object) -> ProcessInfo:
    """Describe a ready process of a function."""
    given = {
        "name": name if number == 1 else f"{name}-{number}",
        "kind": "function",
        "deployed": name,
        "version": "1" * 64,
        "state": "ready",
        **more,
    }
    return ProcessInfo.model_validate(given)
