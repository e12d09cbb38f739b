"""What is asked for at a scrape: kept for seconds, absent where it can't be had."""

import logging

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from saga.runtime.errors import BrokerUnavailable
from saga.runtime.metrics.catalogue import MEMBERS, RESTARTS
from saga.runtime.metrics.collecting import KEPT_FOR, Asking, Source

TWO = (MEMBERS, ("bakery.bake",), 2.0)


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand, in seconds."""
    now = [100.0]
    monkeypatch.setattr("saga.runtime.metrics.collecting.time.monotonic", lambda: now[0])
    return now


def text(*sources):
    registry = CollectorRegistry()
    registry.register(Asking(lambda: sources))
    return generate_latest(registry).decode()


def failing(error):
    def ask():
        yield TWO
        raise error

    return ask


def test_counters_and_gauges_are_written_as_such():
    told = text(Source("all", lambda: [TWO, (RESTARTS, ("bakery.bake",), 1.0)]))
    assert "# TYPE kafka_consumergroup_members gauge" in told
    assert 'kafka_consumergroup_members{consumergroup="bakery.bake"} 2.0' in told
    assert "# TYPE saga_restarts_total counter" in told
    assert 'saga_restarts_total{function="bakery.bake"} 1.0' in told


def test_samples_of_two_sources_are_one_metric():
    other = (MEMBERS, ("bakery.eat",), 1.0)
    told = text(Source("one", lambda: [TWO]), Source("other", lambda: [other]))
    assert told.count("# TYPE") == 1
    assert told.count("\nkafka_consumergroup_members{") == 2


def test_source_is_asked_once_for_all_who_scrape_within_seconds(clock):
    asked = []

    def ask():
        asked.append(1)
        return [TWO]

    source = Source("one", ask)
    assert text(source) == text(source)
    assert len(asked) == 1
    clock[0] += KEPT_FOR
    text(source)
    assert len(asked) == 2


def test_source_that_takes_long_is_asked_seldom(clock):
    def ask():
        clock[0] += 3.0  # seconds
        asked.append(1)
        return [TWO]

    asked = []
    source = Source("slow", ask)
    source.samples()
    clock[0] += 59.0
    source.samples()
    assert len(asked) == 1
    clock[0] += 1.0
    source.samples()
    assert len(asked) == 2


def test_source_that_was_away_is_asked_again_soon_however_long_that_took(clock):
    def ask():
        clock[0] += 3.0  # seconds
        asked.append(1)
        raise OSError("no answer")

    asked = []
    source = Source("away", ask)
    source.samples()
    clock[0] += KEPT_FOR
    source.samples()
    assert len(asked) == 2


@pytest.mark.parametrize("error", [BrokerUnavailable("away"), KeyError("a mistake")])
def test_what_cant_be_had_is_absent_and_takes_no_other_along(error):
    told = text(Source("bad", failing(error)), Source("good", lambda: [(RESTARTS, ("x",), 1.0)]))
    assert "members" not in told
    assert 'saga_restarts_total{function="x"} 1.0' in told


def test_what_was_known_before_is_not_told_when_it_is_known_no_more(clock):
    answers = [lambda: [TWO], failing(OSError("away"))]
    source = Source("one", lambda: answers.pop(0)())
    assert source.samples() == [TWO]
    clock[0] += KEPT_FOR
    assert source.samples() == []


def test_outage_is_logged_once_and_an_unknown_error_with_its_traceback(clock, caplog):
    answers = [OSError("away"), OSError("away"), None, KeyError("x")]

    def ask():
        if error := answers.pop(0):
            raise error
        return [TWO]

    source = Source("the bakery", ask)
    with caplog.at_level(logging.WARNING):
        for _ in range(4):
            source.samples()
            clock[0] += KEPT_FOR
    first, second = caplog.records
    assert first.getMessage() == "no metrics of the bakery: OSError: away"
    assert not first.exc_info
    assert second.exc_info
