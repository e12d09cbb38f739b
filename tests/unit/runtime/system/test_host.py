"""What the process of a timer tells of itself while the broker is away."""

import threading

from saga.runtime import loop, outbox
from saga.runtime.database.schema import bind
from saga.runtime.errors import BrokerUnavailable
from saga.runtime.function import Function
from saga.runtime.health import stands_still
from saga.runtime.retry import Retry
from saga.runtime.settings import Settings
from saga.runtime.system import host
from saga.runtime.timer import Timer


def test_timers_loop_turns_while_the_broker_is_away(sqlite, tmp_path, monkeypatch) -> None:
    """An outage is no reason to end it."""
    health, stop, seen = tmp_path / "health", threading.Event(), []

    class Away:
        def __init__(self, settings, group):
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
    host._run_timer(timer, Settings(saga_health=health), stop, lambda: None)
    assert seen == [True]
