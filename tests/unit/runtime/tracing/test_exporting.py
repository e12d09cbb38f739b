"""Spans arrive over OTLP; a collector that is away costs a line in the log."""

import logging
import os
import subprocess
import sys
from unittest import mock

import pytest
from opentelemetry import trace

from saga.runtime.settings import Settings
from saga.runtime.tracing import opening
from saga.runtime.tracing.exporting import LAST_WORDS
from saga.runtime.tracing.opening import is_wanted, open_traces
from saga.runtime.tracing.tracing import Tracing
from support.collector import run_collector
from support.ports import free_port
from support.waiting import DEADLINE, wait_until

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(trace, "set_tracer_provider", lambda _: None)  # there is one a process
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")  # milliseconds


def tracing(name="bakery.bake", **settings):
    opened = open_traces(name, Settings(**settings))
    assert isinstance(opened, Tracing)
    return opened


def test_spans_arrive_with_what_made_them(monkeypatch):
    with run_collector() as collector:
        monkeypatch.setenv(ENDPOINT, collector.endpoint)
        opened = tracing(saga_version="v1")
        opened.tracer.start_span("oven").end()
        opened.close()
    assert [(span.service, span.name) for span in collector.spans] == [("bakery.bake", "oven")]
    assert collector.paths == ["/v1/traces"]
    resource = opened._provider.resource.attributes
    assert (resource["service.version"], resource["service.namespace"]) == ("v1", "saga")


@pytest.mark.parametrize(
    ("variable", "value"),
    [("OTEL_SERVICE_NAME", "shop"), ("OTEL_RESOURCE_ATTRIBUTES", "service.name=shop,a=b")],
)
def test_the_environment_may_name_the_service(monkeypatch, variable, value):
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:1")
    monkeypatch.setenv(variable, value)
    opened = tracing()
    assert opened._provider.resource.attributes["service.name"] == "shop"
    opened.close()


def test_the_environment_says_which_are_sampled(monkeypatch):
    with run_collector() as collector:
        monkeypatch.setenv(ENDPOINT, collector.endpoint)
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
        opened = tracing()
        opened.tracer.start_span("oven").end()
        opened.close()
    assert collector.paths == []


@pytest.mark.parametrize(
    ("named", "sampler"),
    [(None, "AtMost{5/s}"), ("parentbased_always_on", "AlwaysOnSampler")],
)
def test_of_a_flood_some_are_kept_unless_the_environment_says_which(monkeypatch, named, sampler):
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:1")
    if named:
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", named)
    opened = tracing()
    told = opened._provider.sampler.get_description()
    assert told.startswith(f"ParentBased{{root:{sampler},")
    opened.close()


def test_what_is_empty_in_the_environment_counts_as_not_set(monkeypatch, caplog):
    """A docker-compose.yml hands over what is not set as empty."""
    with run_collector() as collector:
        monkeypatch.setenv(ENDPOINT, collector.endpoint)
        for name in ("OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG", "OTEL_SDK_DISABLED"):
            monkeypatch.setenv(name, " ")
        opened = tracing()
        opened.tracer.start_span("oven").end()
        opened.close()
    assert [span.name for span in collector.spans] == ["oven"]
    assert caplog.messages == []


def test_a_collector_that_goes_and_comes_is_told_once_each(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    with run_collector() as collector:
        monkeypatch.setenv(ENDPOINT, collector.endpoint)
        opened = tracing()
        collector.status = 400
        for number in (1, 2):
            opened.tracer.start_span("lost").end()
            wait_until(lambda: len(collector.paths) >= number, "they are sent")  # noqa: B023
        collector.status = 200
        opened.tracer.start_span("kept").end()
        wait_until(lambda: bool(collector.spans), "they are taken")
        opened.close()
    assert [record.getMessage() for record in caplog.records] == [
        "the collector takes no traces: they are lost meanwhile",
        "the collector takes traces again",
    ]


def test_a_process_that_ends_waits_for_a_collector_that_is_away_no_longer_than_it_may(monkeypatch):
    """A process of its own: the thread that goes on trying ends with it alone."""
    monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{free_port()}")
    code = """
import time
from saga.runtime.tracing.opening import open_traces
from saga.runtime.settings import Settings
opened = open_traces("x", Settings())
opened.tracer.start_span("lost").end()
began = time.monotonic()
opened.close()
print(time.monotonic() - began)
"""
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, check=True, timeout=DEADLINE, capture_output=True, text=True)
    assert float(ended.stdout) < LAST_WORDS + DEADLINE / 10


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({ENDPOINT: ""}, False),
        ({ENDPOINT: "http://there"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://there"}, True),
        ({ENDPOINT: "http://there", "OTEL_SDK_DISABLED": "TRUE"}, False),
        ({ENDPOINT: "http://there", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({ENDPOINT: "http://there", "OTEL_TRACES_EXPORTER": "otlp"}, True),
    ],
)
def test_there_are_traces_where_the_environment_says_where_to(monkeypatch, environment, wanted):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_wanted() is wanted


def test_nothing_is_imported_where_there_is_nowhere_to_send_to():
    code = """
import sys, saga.runtime.system.host
from saga.runtime.tracing.opening import open_traces
from saga.runtime.settings import Settings
assert open_traces("x", Settings()) is None
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=DEADLINE)


def test_packages_that_are_missing_are_told(monkeypatch, caplog):
    monkeypatch.setenv(ENDPOINT, "http://there")
    missing = dict.fromkeys(["saga.runtime.tracing.tracing"])
    with mock.patch.dict(sys.modules, missing):
        assert open_traces("x", Settings()) is None
    assert "pip install 'saga-functions[otel]'" in caplog.text
    assert opening.ENDPOINTS
