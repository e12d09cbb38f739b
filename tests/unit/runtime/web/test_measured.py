"""An adapter tells how long its requests took, under names of which there are few."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from saga.http import user
from saga.runtime.metrics import instruments as module
from saga.runtime.metrics.instruments import Instruments
from saga.runtime.saga_store import SagaStore
from saga.runtime.settings import Settings
from support.api import Api, run_app
from support.console import begin, fail, start

COUNT = re.compile(r"(?m)^http_server_request_duration_seconds_count\{(.*)\} (.*)$")
ANN = {"name": "Ann", "email": "ann@example.com", "balance": "1.00"}


@pytest.fixture
def instruments(monkeypatch: pytest.MonkeyPatch) -> Instruments:
    """Instruments on which no other test counts."""
    fresh = Instruments(CollectorRegistry())
    monkeypatch.setattr(module, "of_this_process", lambda: fresh)
    return fresh


@pytest.fixture
def users(tmp_path: Path, instruments: Instruments) -> Iterator[Api]:
    with run_app(user.make_app(Settings(saga_data=tmp_path, saga_metrics_port=9464))) as api:
        yield api


def counted(api: Api) -> dict[str, float]:
    """Return how many requests were counted, by `METHOD ROUTE STATUS`."""
    found = {}
    for labels, value in COUNT.findall(api.get("/metrics").text):
        by_name = dict(re.findall(r'(\w+)="(.*?)"', labels))
        assert by_name.pop("service") == "user"
        names = ("http_request_method", "http_route", "http_response_status_code")
        found[" ".join(by_name[name] for name in names)] = float(value)
    return found


def test_requests_are_counted_by_route_and_status(users: Api) -> None:
    users.post("/users", ANN)
    for number in (1, 2, 3):
        users.get(f"/users/{number}")
    assert counted(users) == {
        "POST /users 201": 1.0,
        "GET /users/{user_id} 200": 1.0,
        "GET /users/{user_id} 404": 2.0,
    }


def test_paths_and_methods_that_there_are_not_are_one_each(users: Api) -> None:
    for path in ("/a", "/b", "/c"):
        assert users.ask("GET", path, described=False).status_code == 404
    assert counted(users) == {"GET  404": 3.0}


def test_openmetrics_is_written_for_who_accepts_it(users: Api) -> None:
    accept = {"accept": "application/openmetrics-text; version=1.0.0"}
    answer = users.ask("GET", "/metrics", described=False, headers=accept)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


def test_nothing_is_counted_where_metrics_are_off(tmp_path: Path, instruments: Instruments) -> None:
    with run_app(user.make_app(Settings(saga_data=tmp_path, saga_metrics_port=0))) as users:
        users.get("/users")
        assert users.get("/metrics").text == ""


def test_what_persons_make_of_sagas_is_counted(tmp_path: Path, instruments: Instruments) -> None:
    with start(tmp_path, saga_metrics_port=9464) as api:
        sagas = SagaStore(api.app.ctx.threads.database)
        failed, going = begin(sagas, 1), begin(sagas, 2)
        fail(sagas, failed)
        assert ended(api) == {"COMPLETED": 0.0, "COMPENSATED": 0.0, "FAILED": 0.0}
        skip = {"step": "bake", "by": "Ada", "reason": "thrown away"}
        assert api.post(f"/cakes/{failed}/skip", skip).status == 202
        assert api.post(f"/cakes/{failed}/skip", skip).status == 409
        assert api.delete(f"/cakes/{going}").status == 202
        assert ended(api) == {"COMPLETED": 0.0, "COMPENSATED": 1.0, "FAILED": 0.0}
        told = api.get("/metrics").text
        assert (
            'saga_compensations_total{code="cancelled",saga="order-cake",step="bake"} 1.0' in told
        )


def ended(api: Api) -> dict[str, float]:
    """Return how many sagas have ended by their status."""
    found = re.findall(
        r'(?m)^saga_ended_total\{saga="order-cake",status="(\w+)"\} (.*)$',
        api.get("/metrics").text,
    )
    return {status: float(value) for status, value in found}
