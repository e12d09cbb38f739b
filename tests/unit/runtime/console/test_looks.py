"""What is seen of functions: in the metrics, and where these don't tell, at the broker."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from saga.runtime.address import listen
from saga.runtime.console import looks as module
from saga.runtime.console.kept import Kept
from saga.runtime.console.looks import Look, Looks
from saga.runtime.errors import BrokerUnavailable
from saga.runtime.metrics import backlog
from saga.runtime.metrics.catalogue import LAG, MEMBERS
from saga.runtime.settings import Settings
from support.console import Supervised, process, serve_metrics, supervised
from support.waiting import DEADLINE

BAKED = """
kafka_consumergroup_members{consumergroup="b.bake"} 1
kafka_consumergroup_lag{consumergroup="b.bake",topic="bakery.bake",partition="0"} 3
messaging_client_consumed_messages_total{messaging_consumer_group_name="b.bake"} %d
"""
TOPICS = {"bake": ("bakery.bake",), "eat": ("bakery.eat",)}

Looking = Callable[..., Look]


@pytest.fixture
def system(tmp_path: Path) -> Iterator[Supervised]:
    with supervised(tmp_path / "data") as system:
        system.declare("b", functions="bake eat")
        yield system


@pytest.fixture
def look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Looking:
    """Look again at each call, however soon that is."""
    monkeypatch.setattr(module, "EVERY", 0.01)
    made: list[Looks] = []

    def look(**settings: object) -> Look:
        given = {"saga_data": tmp_path / "data", "saga_metrics_port": 9464, **settings}
        made[:] = made or [Looks(Settings.model_validate(given), TOPICS)]
        time.sleep(0.02)
        return made[0].get(time.monotonic() + DEADLINE)

    return look


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A broker that has 7 records for each group, and notes which it is asked for."""
    asked: list[str] = []

    class Asked:
        def __init__(self, _: Settings, groups: backlog.Groups) -> None:
            self._groups = groups

        def __call__(self) -> Iterator[object]:
            for group, (topic,) in self._groups().items():
                asked.append(group)
                yield MEMBERS, (group,), 0
                yield LAG, (group, topic, "0"), 7

    monkeypatch.setattr(backlog, "Backlog", Asked)
    return asked


def test_rate_is_what_has_come_between_two_looks(system, look):
    with serve_metrics(BAKED % 10) as metrics:
        system.publish(process("b.bake"), process("b.eat"), metrics.process)
        assert look().of("b.bake").rate is None
        metrics.text = BAKED % 20
        seen = look()
    found = seen.of("b.bake")
    assert (found.members, found.lag) == (1, 3)
    assert found.rate is not None
    assert found.rate > 0
    assert seen.unknown == ()


def test_past_is_what_was_seen_and_what_nobody_knew_is_in_it(system, look):
    with serve_metrics(BAKED % 10) as metrics:
        system.publish(process("b.bake"), process("b.eat"), metrics.process)
        look()
        seen = look()
    assert [point.lag for point in seen.past["b.bake"]] == [3, 3]
    assert [point.lag for point in seen.past["b.eat"]] == [None, None]


def test_rate_of_what_was_seen_long_ago_is_none(system, look, monkeypatch):
    with serve_metrics(BAKED % 10) as metrics:
        system.publish(process("b.bake"), process("b.eat"), metrics.process)
        look()
        monkeypatch.setattr(module, "GAP", 0.0)
        assert look().of("b.bake").rate is None


def test_rate_after_a_look_without_an_answer_is_not_of_all_that_ever_came(system, look):
    with serve_metrics(BAKED % 1_000_000) as metrics, listen("127.0.0.1", 0) as nobody:
        running, port = (process("b.bake"), process("b.eat"), metrics.process), metrics.process.port
        metrics.process.port = nobody.getsockname()[1]
        nobody.close()
        system.publish(*running)
        assert look().of("b.bake").rate is None
        metrics.process.port = port
        system.publish(*running)
        assert look().of("b.bake").rate is None
        assert look().of("b.bake").rate == 0


def test_what_does_not_run_is_asked_of_the_broker(system, look, broker):
    with serve_metrics(BAKED % 10) as metrics:
        system.publish(process("b.bake"), metrics.process)
        seen = look(kafka_bootstrap_servers="127.0.0.1:1")
    assert set(broker) == {"b.eat"}
    assert (seen.of("b.eat").lag, seen.of("b.eat").members) == (7, 0)
    assert seen.of("b.bake").lag == 3
    assert seen.unknown == ()


def test_without_metrics_all_that_reads_a_topic_is_asked_of_the_broker(system, look, broker):
    system.publish(process("b.bake", topic="b.other"), process("b.tick"))
    seen = look(kafka_bootstrap_servers="127.0.0.1:1", saga_metrics_port=0)
    assert set(broker) == {"b.bake", "b.eat"}
    assert seen.of("b.bake").lag == 7
    assert seen.of("b.bake").rate is None
    [why] = seen.unknown
    assert "metrics are off" in why
    assert "SAGA_METRICS_PORT" in why


def test_port_that_could_not_be_had_is_told(system, look):
    system.publish(process("b.bake"), process("b.eat"))
    why, no_broker = look(saga_metrics_port=9465).unknown
    assert "port 9465 could not be had" in why
    assert "KAFKA_BOOTSTRAP_SERVERS" in no_broker


def test_metrics_that_do_not_answer_leave_all_unknown(system, look, monkeypatch):
    monkeypatch.setattr(module, "ANSWER", 0.05)
    with serve_metrics(BAKED % 10) as metrics, listen("127.0.0.1", 0) as silent:
        running = process("b.bake"), process("b.eat"), metrics.process
        system.publish(*running)
        assert look().of("b.bake").lag == 3
        metrics.process.port = silent.getsockname()[1]
        system.publish(*running)
        seen = look()
    assert seen.of("b.bake").lag is None
    [why] = seen.unknown
    assert "does not answer (TimeoutError: timed out). See `saga logs metrics`" in why


def test_what_is_no_metrics_is_told(system, look, monkeypatch):
    def broken(*_: object) -> None:
        raise ValueError("no metrics")

    monkeypatch.setattr(module, "scrape", broken)
    with serve_metrics("") as metrics:
        system.publish(process("b.bake"), process("b.eat"), metrics.process)
        assert "ValueError: no metrics" in look().unknown[0]


def test_broker_that_is_away_is_told(system, look, monkeypatch):
    def away(_: object) -> list[object]:
        raise BrokerUnavailable("it is away")

    monkeypatch.setattr(backlog.Backlog, "__call__", away)
    with serve_metrics(BAKED % 10) as metrics:
        system.publish(process("b.bake"), metrics.process)
        seen = look(kafka_bootstrap_servers="127.0.0.1:1")
    assert seen.of("b.bake").lag == 3
    assert seen.unknown == ("Lag and members are unknown: it is away.",)


def test_broker_that_has_told_the_metrics_nothing_is_told(system, look):
    with serve_metrics('saga_restarts_total{function="b.bake"} 1\n') as metrics:
        system.publish(process("b.bake"), process("b.eat"), metrics.process)
        assert look().unknown == ()  # clocks read no topic
        system.publish(process("b.bake", topic="bakery.bake"), process("b.eat"), metrics.process)
        assert look().unknown == ("Lag and members are unknown: see `saga logs metrics`.",)


def test_where_no_system_runs_prometheus_is_named(look, broker):
    seen = look(kafka_bootstrap_servers="127.0.0.1:1")
    assert "Prometheus" in seen.unknown[0]


def test_before_the_first_answer_all_is_unknown(look, monkeypatch):
    monkeypatch.setattr(Kept, "get", lambda *_: None)
    seen = look()
    assert seen.of("b.bake").lag is None
    assert "nobody has answered yet" in seen.unknown[0]
