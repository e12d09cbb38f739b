"""A scrape is answered in the format that it accepts."""

import httpx
import pytest
from prometheus_client import CollectorRegistry

from saga.runtime.address import listen
from saga.runtime.metrics.catalogue import COMMANDS
from saga.runtime.metrics.exposition import MetricsServer
from saga.runtime.metrics.instruments import Instruments

TEXT = 'saga_commands_total{function="bakery.bake",outcome="done"} 1.0'


@pytest.fixture
def url():
    registry = CollectorRegistry()
    Instruments(registry).series(COMMANDS, "bakery.bake", "done").inc(1)
    listening = listen("127.0.0.1", 0)
    server = MetricsServer(registry, listening)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.close()


def test_text_is_the_usual_format(url):
    answer = httpx.get(f"{url}/metrics", verify=False)
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert TEXT in answer.text


def test_openmetrics_is_written_for_who_accepts_it(url):
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    answer = httpx.get(f"{url}/metrics", headers=accept, verify=False)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert TEXT in answer.text
    assert answer.text.endswith("# EOF\n")


def test_head_has_no_body(url):
    answer = httpx.head(f"{url}/metrics")
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["content-length"]) > 100


def test_query_makes_no_difference(url):
    assert TEXT in httpx.get(f"{url}/metrics?x=1", verify=False).text


@pytest.mark.parametrize("path", ["/", "/metricsx", "/favicon.ico"])
def test_there_is_nothing_else(url, path):
    assert httpx.get(url + path, verify=False).status_code == 404


def test_closed_one_leaves_its_port():
    listening = listen("127.0.0.1", 0)
    port = listening.getsockname()[1]
    MetricsServer(CollectorRegistry(), listening).close()
    listen("127.0.0.1", port).close()


def test_scrape_is_logged_nowhere(url, capfd):
    httpx.get(f"{url}/metrics", verify=False)
    assert capfd.readouterr() == ("", "")
