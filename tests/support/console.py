"""A running console, asked as by a browser whose page it is, or as another site makes it ask."""

from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from saga.runtime.clock import utcnow
from saga.runtime.console.mounting import mount
from saga.runtime.envelope import Action, Outcome, Reply
from saga.runtime.saga_rows import SagaRow
from saga.runtime.saga_store import TABLES, SagaStore, Start
from saga.runtime.settings import Settings
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

    def post(self, path: str, *, token: str = TOKEN, cookie: str = TOKEN, **headers: Any) -> Any:
        """Send a form."""
        fields = headers.pop("fields", {})
        sent = {
            "origin": f"http://{self.host}",
            "content-type": "application/x-www-form-urlencoded",
            "cookie": f"saga_console={cookie}",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        return self.api.ask(
            "POST",
            f"/console{path}",
            described=False,
            headers={name: value for name, value in sent.items() if value is not None},
            content=urlencode({"token": token, **fields}),
            follow_redirects=False,
        )


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
