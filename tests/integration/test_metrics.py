"""The metrics of a running system: what is served, and that it is so."""

import os
import signal
from collections.abc import Iterator

import httpx
import pytest

from saga.runtime.metrics.scrape import Scrape
from support.ports import free_port
from support.prometheus import promtool
from support.system import RunningSystem, run_system
from support.waiting import wait_until

OPEN_METRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}


class Measured:
    """A system that serves its metrics."""

    def __init__(self, system: RunningSystem, port: int) -> None:
        self.system = system
        self.url = f"http://127.0.0.1:{port}/metrics"

    def text(self, headers: dict[str, str] | None = None) -> str:
        return httpx.get(self.url, headers=headers, timeout=30).text

    def scrape(self) -> Scrape:
        return Scrape(self.text(), 0.0)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measured]:
    port = free_port()
    with run_system(
        tmp_path_factory.mktemp("system"),
        prepare=lambda system: system.environment.update(SAGA_METRICS_PORT=str(port)),
    ) as system:
        yield Measured(system, port)


def test_promtool_finds_nothing(measured: Measured) -> None:
    measured.system.order(measured.system.make_user(), measured.system.make_product())
    assert promtool("check", "metrics", stdin=measured.text()) == ""


def test_process_of_the_metrics_is_listed(measured: Measured) -> None:
    served = measured.system.processes()["metrics"]
    assert (served["state"], served["where"]) == ("ready", measured.url)


def test_each_function_and_saga_has_a_member_and_a_lag(measured: Measured) -> None:
    running = measured.system.processes()
    groups = {name for name, one in running.items() if one["kind"] in ("function", "saga")}
    scrape = measured.scrape()
    assert len(groups) == 8
    for group in groups:
        assert scrape.total("kafka_consumergroup_members", consumergroup=group) == 1
        assert scrape.total("kafka_consumergroup_lag", consumergroup=group) is not None
        assert scrape.most("saga_lag_seconds", consumergroup=group) is not None


def test_process_that_is_killed_is_there_again_at_its_port(measured: Measured) -> None:
    os.kill(measured.system.processes()["metrics"]["pid"], signal.SIGKILL)
    assert "saga_instances" in measured.text()  # the port is the supervisor's: who asks may wait
    scrape = wait_until(measured.scrape, "it answers")
    assert scrape.total("saga_restarts_total", function="metrics") == 1


def test_openmetrics_is_for_who_accepts_it(measured: Measured) -> None:
    text = measured.text(OPEN_METRICS)
    assert text.endswith("# EOF\n")
    assert "saga_sagas{" in text
