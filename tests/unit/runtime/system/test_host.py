"""How a process that hosts something is set up, and what a timer's tells of itself."""

import gc
import signal
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
import tenacity

from saga.runtime import loop, outbox
from saga.runtime.database.connection import LONGEST
from saga.runtime.database.schema import bind
from saga.runtime.errors import BrokerUnavailable
from saga.runtime.function import Function
from saga.runtime.health import stands_still
from saga.runtime.observer import Observer
from saga.runtime.retry import Retry
from saga.runtime.settings import Settings
from saga.runtime.system import host
from saga.runtime.system.stack import Stack, read_stacks
from saga.runtime.timer import Timer

# No broker is there; its group counts as one that is at rest without it.
FORGOTTEN = """
from threading import Event

from saga.runtime import crash
from saga.runtime.database.connection import connect
from saga.runtime.kafka import transport
from saga.runtime.settings import Settings
from saga.runtime.system import host
from saga.runtime.system.stack import read_stacks
from saga.runtime.worker import Worker

transport.LOOK_EVERY = transport.OUT_FOR_LONG = 0.0
transport.is_at_rest = lambda *_: True
[stack] = [s for s in read_stacks(Settings().saga_stacks) if s.service == "order"]
hosted, nowhere = stack.import_entry("create_order"), Settings(kafka_bootstrap_servers="host:1")
worker = Worker(hosted, connect("sqlite://"))
hosting = host.Hosting(nowhere, Event(), None, None)
host._run_loop(worker, hosted, crash.DISARMED, hosting)
"""


FORGOTTEN_TOLD = "out of its group for long, which waits for nobody: ends, to be started again"


class Connected(Exception):
    """Its database was connected."""


@pytest.fixture
def longest(monkeypatch):
    """Start to host something, with these changes; return the limit that its database is given."""

    def start(service, name, **changes):
        def connect(url, *, longest):
            given.append(longest)
            raise Connected

        given = []
        [stack] = [s for s in read_stacks(Settings().saga_stacks) if s.service == service]
        hosted = replace(stack.import_entry(name), **changes)
        monkeypatch.setattr(Stack, "import_entry", lambda *_: hosted)
        monkeypatch.setattr(signal, "signal", lambda *_: None)
        monkeypatch.setattr(host, "connect", connect)
        with pytest.raises(Connected):
            host.run_entry(stack, name, Settings())
        return given

    return start


def test_database_gives_a_handler_the_time_that_it_may_take(longest):
    assert longest("order", "create_order", timeout=600.0) == [600.0]


def test_saga_has_the_usual_time(longest):
    assert longest("orchestrator", "place_order") == [LONGEST]


@pytest.mark.parametrize(
    ("service", "name"), [("order", "create_order"), ("orchestrator", "place_order")]
)
def test_what_is_hosted_tells_who_observes_the_process(sqlite, monkeypatch, service, name) -> None:
    """All of them: who logs, who counts, who traces."""
    [stack] = [s for s in read_stacks(Settings().saga_stacks) if s.service == service]
    told, observer, url = [], Observer(), f"sqlite:///{sqlite.database}"
    monkeypatch.setattr(host, "_run_loop", lambda hosting, *_: told.append(hosting.observer))
    hosted, nothing = stack.import_entry(name), lambda: None
    hosting = host.Hosting(Settings(), threading.Event(), nothing, nothing)
    host._run(hosted, sqlite, url, observer, hosting)
    assert told == [observer]


def test_process_that_its_group_has_forgotten_ends() -> None:
    """Its consumer can't be mended, nor closed."""
    command = [sys.executable, "-c", FORGOTTEN]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, FORGOTTEN_TOLD)


class Closing:
    """Traces that are only closed."""

    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1

    def trace_requests(self, app) -> None:
        """There are none."""


def _break(*_, **__) -> None:
    raise RuntimeError("broken")


def test_last_spans_of_a_function_that_breaks_are_sent(sqlite, monkeypatch) -> None:
    [stack] = [s for s in read_stacks(Settings().saga_stacks) if s.service == "order"]
    traces = Closing()
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(gc, "freeze", lambda: None)
    monkeypatch.setattr(gc, "set_threshold", lambda *_: None)
    monkeypatch.setattr(host, "connect", lambda *_, **__: sqlite)
    monkeypatch.setattr(host, "create_topics", lambda *_: None)
    monkeypatch.setattr(host, "open_traces", lambda *_: traces)
    monkeypatch.setattr(host, "Observers", lambda *_: Observer())
    monkeypatch.setattr(host, "_run", _break)
    with pytest.raises(RuntimeError, match="broken"):
        host.run_entry(stack, "create_order", Settings(saga_metrics_port=0))
    assert traces.closed == 1


def test_last_spans_of_an_adapter_that_breaks_are_sent(tmp_path, monkeypatch) -> None:
    [stack] = [s for s in read_stacks(Settings().saga_stacks) if s.service == "user"]
    traces = Closing()
    monkeypatch.setattr(host, "open_traces", lambda *_: traces)
    monkeypatch.setattr(host, "listen_for", _break)
    with pytest.raises(RuntimeError, match="broken"):
        host.run_adapter(stack, Settings(saga_data=tmp_path, saga_metrics_port=0))
    assert traces.closed == 1


def test_timers_loop_turns_while_the_broker_is_away(sqlite, tmp_path, monkeypatch) -> None:
    """An outage is no reason to end it."""
    health, stop, seen = tmp_path / "health", threading.Event(), []

    class Away:
        def __init__(self, settings, on_sent):
            """It takes nothing."""

        def offer(self, records):
            health.unlink()
            raise BrokerUnavailable("away")

        def check(self):
            seen.append(health.exists() and stands_still(health) is None)
            stop.set()
            raise BrokerUnavailable("away")

        def close(self):
            """There is nothing to close."""

    monkeypatch.setattr(host, "Producer", Away)
    monkeypatch.setattr(loop, "WAIT", Retry(first=0.0))
    bind(sqlite, outbox.TABLES)
    timer = Timer(Function("billing.remind", lambda _: [], "timer", (), every=0.01), sqlite)
    settings = Settings(saga_health=health)
    host._run_timer(timer, host.Hosting(settings, stop, lambda: None, lambda: None))
    assert seen == [True]


def test_what_a_start_waits_for_is_told_in_short_and_ever_more_seldom(caplog):
    def start():
        raise BrokerUnavailable("the broker at 127.0.0.1:9 does not answer")

    start_again = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(40), before_sleep=host.tell_of_retry, reraise=True
    )
    with pytest.raises(BrokerUnavailable):
        start_again(start)
    told = "BrokerUnavailable: the broker at 127.0.0.1:9 does not answer; waiting for it"
    assert [record.message for record in caplog.records] == [told] * 6
