"""A saga is seen in the logs, the traces and the metrics of all processes that it went through."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.collector import Collector, Received, run_collector
from support.ports import free_port
from support.prometheus import promtool
from support.system import ROOT, RunningSystem, run_system

Until = Callable[..., Any]

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
CLIENT = "b7ad6b7169203331"  # the client's own span
TEXT = (ROOT / "docs" / "seeing.md").read_text()
FILES = dict(re.findall(r"<!-- test: file (\S+) -->\n```yaml\n(.*?)```", TEXT, re.DOTALL))
CONSUMER, PRODUCER, SERVER = 5, 4, 2  # kinds of spans


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with run_collector() as collector:
        yield collector


@pytest.fixture(scope="module")
def system(
    tmp_path_factory: pytest.TempPathFactory, collector: Collector
) -> Iterator[RunningSystem]:
    """A system that serves its metrics, whose logs are JSON, and whose traces are sent soon."""

    def prepare(system: RunningSystem) -> None:
        system.environment |= {
            "SAGA_METRICS_PORT": str(free_port()),
            "SAGA_LOG_FORMAT": "json",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "200",  # milliseconds
        }

    with run_system(tmp_path_factory.mktemp("system"), prepare=prepare) as system:
        yield system


@pytest.fixture(scope="module")
def undone(system: RunningSystem) -> str:
    """The id of a saga that was undone, as its user could not pay."""
    user, product = system.make_user("1.00"), system.make_product("10.00")
    body = {"user_id": user, "product_id": product, "quantity": 1}
    headers = {"traceparent": f"00-{TRACE_ID}-{CLIENT}-01"}
    saga = system.http("POST", "orchestrator", "/orders", json=body, headers=headers).json()
    assert system.ended(saga["saga_id"])["status"] == "COMPENSATED"
    return str(saga["saga_id"])


def test_what_was_logged_of_a_saga_is_told_in_order(system: RunningSystem, undone: str) -> None:
    lines = [json.loads(line) for line in system.saga("logs", "--saga", undone).stdout.splitlines()]
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)
    assert {line["saga_id"] for line in lines} == {undone}
    first = lines[0]
    assert (first["logger"], first["function"]) == ("saga.access", "orchestrator")
    assert (first["method"], first["path"], first["status"]) == ("POST", "/orders", 202)
    [rejected] = [line for line in lines if line["logger"] == "saga.runtime.worker"]
    assert rejected["function"] == "user.process_payment"
    assert rejected["version"] == system.processes()["user.process_payment"]["version"]
    assert rejected["command_id"] == f"{undone}/process_payment/do"
    assert rejected["attempt"] == 1
    assert first["trace_id"] == rejected["trace_id"] == TRACE_ID


def test_a_saga_is_one_trace_from_the_request_to_every_undo(
    system: RunningSystem, collector: Collector, undone: str, until: Until
) -> None:
    steps = [("order.create", "order.events"), ("product.reserve", "product.events")]
    steps += [("user.pay", "user.events"), ("product.release", "product.events")]
    steps += [("order.cancel", "order.events")]
    hops = [topic for step in steps for topic in step]

    def spans(kind: int) -> list[Received]:
        return [span for span in collector.trace(TRACE_ID) if span.kind == kind]

    until(lambda: len(spans(CONSUMER)) >= len(hops), "all spans have arrived")
    [request] = [span for span in spans(SERVER) if span.name == "POST /orders"]
    assert (request.service, request.parent_id) == ("orchestrator", CLIENT)
    assert sorted(span.name for span in spans(CONSUMER)) == sorted(f"process {t}" for t in hops)
    by_id = {span.span_id: span for span in collector.trace(TRACE_ID)}
    for span in spans(CONSUMER):
        sent = by_id[span.parent_id]
        assert (sent.kind, sent.name) == (PRODUCER, span.name.replace("process", "send"))
        above = by_id[sent.parent_id]
        answers = above.name.startswith("process ")
        assert answers == span.name.endswith(".events")
        assert answers or above is request
        assert span.attributes["saga.id"] == undone
    [refused] = [span for span in spans(CONSUMER) if span.name == "process user.pay"]
    assert refused.service == "user.process_payment"
    assert refused.attributes["error.type"] == "insufficient_funds"


def test_sagas_of_others_have_traces_of_their_own(
    system: RunningSystem, collector: Collector, until: Until
) -> None:
    saga = system.order(system.make_user(), system.make_product())
    until(
        lambda: any(span.attributes.get("saga.id") == saga["saga_id"] for span in collector.spans),
        "its spans have arrived",
    )
    traces = {s.trace_id for s in collector.spans if s.attributes.get("saga.id") == saga["saga_id"]}
    assert len(traces) == 1
    assert TRACE_ID not in traces


def commands(name: str) -> list[str]:
    """Return the commands of a block, without `saga` and what is said of them."""
    [block] = re.findall(rf"<!-- test: {name} -->\n```sh\n(.*?)```", TEXT, re.DOTALL)
    return [line.partition("#")[0].strip() for line in block.splitlines()]


def test_prometheus_takes_the_files(
    tmp_path: Path, system: RunningSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in commands("run"):
        system.saga(*command.removeprefix("saga ").split())
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
        assert "SUCCESS" in promtool("check", "config", name)
    assert json.loads((tmp_path / "grafana.json").read_text())["panels"]
    assert len(FILES) == 2


def test_top_tells_of_each_function(system: RunningSystem) -> None:
    once, *others = [command.removeprefix("saga ").split() for command in commands("run top")]
    assert once == ["top"]
    for command in (once, *others):
        told = system.saga(*command).stdout
        assert "order.create_order" in told


def test_top_writes_numbers_for_programs(system: RunningSystem) -> None:
    system.order(system.make_user(), system.make_product())
    told = json.loads(system.saga("top", "--json").stdout)
    [function] = [one for one in told["functions"] if one["name"] == "order.create_order"]
    assert (function["members"], function["lag_seconds"] is None) == (1, False)
