"""The numbers of `saga top`, read from a scrape."""

import pytest
from prometheus_client import CollectorRegistry

from saga.runtime.address import listen
from saga.runtime.metrics.catalogue import COMMANDS
from saga.runtime.metrics.exposition import MetricsServer
from saga.runtime.metrics.instruments import Instruments
from saga.runtime.metrics.scrape import (
    FunctionNow,
    SagasNow,
    Scrape,
    functions,
    sagas,
    scrape,
    told,
)

BUCKETS = """
# TYPE messaging_process_duration_seconds histogram
messaging_process_duration_seconds_bucket{messaging_consumer_group_name="b.bake",error_type="",le="0.1"} 50
messaging_process_duration_seconds_bucket{messaging_consumer_group_name="b.bake",error_type="",le="0.2"} 90
messaging_process_duration_seconds_bucket{messaging_consumer_group_name="b.bake",error_type="",le="+Inf"} 90
messaging_process_duration_seconds_bucket{messaging_consumer_group_name="b.bake",error_type="x",le="0.1"} 0
messaging_process_duration_seconds_bucket{messaging_consumer_group_name="b.bake",error_type="x",le="0.2"} 10
messaging_process_duration_seconds_bucket{messaging_consumer_group_name="b.bake",error_type="x",le="+Inf"} 10
"""  # noqa: E501
ALL = (
    """
saga_instances{function="supervisor",state="ready"} 1
saga_instances{function="b.bake",state="ready"} 2
kafka_consumergroup_members{consumergroup="b.bake"} 2
kafka_consumergroup_lag{consumergroup="b.bake",topic="bake",partition="0"} 3
kafka_consumergroup_lag{consumergroup="b.bake",topic="bake",partition="1"} 4
saga_lag_seconds{consumergroup="b.bake",topic="bake"} 1.5
saga_commands_total{function="b.bake",outcome="done"} 90
saga_commands_total{function="b.bake",outcome="rejected"} 5
saga_commands_total{function="b.bake",outcome="failed"} 3
saga_commands_total{function="b.bake",outcome="dead"} 2
saga_dead_letters_total{topic="bake"} 2
saga_dead_letters_total{topic="eat"} 9
messaging_client_consumed_messages_total{messaging_consumer_group_name="b.bake"} 100
saga_sagas{saga="feast",status="RUNNING"} 7
saga_sagas{saga="feast",status="COMPENSATING"} 1
saga_sagas{saga="feast",status="FAILED"} 2
saga_ended_total{saga="feast",status="COMPLETED"} 30
saga_ended_total{saga="feast",status="FAILED"} 2
saga_oldest_open_age_seconds{saga="feast"} 12.5
"""
    + BUCKETS
)
BEFORE = """
messaging_client_consumed_messages_total{messaging_consumer_group_name="b.bake"} 80
saga_ended_total{saga="feast",status="COMPLETED"} 28
"""


# Another function, and sagas of another declaration, of which all is more.
OTHER = """
kafka_consumergroup_members{consumergroup="b.eat"} 50
kafka_consumergroup_lag{consumergroup="b.eat",topic="eat",partition="0"} 50
saga_lag_seconds{consumergroup="b.eat",topic="eat"} 50
saga_commands_total{function="b.eat",outcome="failed"} 50
messaging_client_consumed_messages_total{messaging_consumer_group_name="b.eat"} 50
messaging_process_duration_seconds_bucket{messaging_consumer_group_name="b.eat",le="50"} 99999
messaging_process_duration_seconds_bucket{messaging_consumer_group_name="b.eat",le="+Inf"} 99999
saga_sagas{saga="fast",status="RUNNING"} 50
saga_sagas{saga="fast",status="COMPENSATING"} 50
saga_sagas{saga="fast",status="FAILED"} 50
saga_ended_total{saga="fast",status="COMPLETED"} 50
saga_oldest_open_age_seconds{saga="fast"} 50
"""


def test_function_is_told_whole_and_apart_from_others():
    found, other = functions(Scrape(ALL + OTHER, 12.0), Scrape(BEFORE, 10.0))
    assert found.p50 == pytest.approx(0.1)
    assert found.p99 == pytest.approx(0.198)
    assert found == FunctionNow("b.bake", 2, 10.0, 7, 1.5, 5, 2, found.p50, found.p99)
    # The letters on a topic are errors of whoever reads it.
    assert (other.name, other.rate, other.errors) == ("b.eat", 25.0, 59)


def test_sagas_are_told_whole_and_apart_from_others():
    found = sagas(Scrape(ALL + OTHER, 12.0), Scrape(BEFORE, 10.0))
    assert found == [
        SagasNow("fast", 50, 50, 50, 50, 25.0),
        SagasNow("feast", 7, 1, 2, 12.5, 2.0),
    ]


def test_sagas_of_which_none_has_ended_are_told():
    [found] = sagas(Scrape('saga_sagas{saga="feast",status="RUNNING"} 7\n', 1.0))
    assert (found.name, found.running) == ("feast", 7)


def test_what_is_served_is_read_at_its_moment():
    registry = CollectorRegistry()
    Instruments(registry).series(COMMANDS, "b.bake", "done").inc(1)
    listening = listen("127.0.0.1", 0)
    server = MetricsServer(registry, listening)
    found = scrape(f"http://127.0.0.1:{listening.getsockname()[1]}/metrics", 12.0)
    server.close()
    assert found.at == 12.0
    assert found.total("saga_commands_total", function="b.bake") == 1
    assert "saga_commands_total" in found.names


def test_what_is_not_told_is_unknown():
    known = 'saga_instances{function="b.bake",state="ready"} 1\n'
    assert functions(Scrape(known, 1.0), Scrape("", 0.0)) == [FunctionNow("b.bake", *[None] * 8)]
    ended = 'saga_ended_total{saga="feast",status="FAILED"} 2\n'
    assert sagas(Scrape(ended, 1.0)) == [SagasNow("feast", *[None] * 5)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, "unknown"), (0, "0/s"), (2.0, "2/s"), (2.34, "2.3/s"), (100.4, "100/s")],
)
def test_numbers_are_told_short_and_what_nobody_knows_as_unknown(value, expected):
    assert told(value, "/s") == expected


def test_one_look_tells_no_rate():
    assert functions(Scrape(ALL, 12.0))[0].rate is None
    assert functions(Scrape(ALL, 12.0), Scrape(ALL, 12.0))[0].rate is None


def test_counter_that_has_begun_again_is_no_negative_rate():
    later = 'kafka_consumergroup_members{consumergroup="b.bake"} 1\n' + BEFORE
    assert functions(Scrape(later, 2.0), Scrape(ALL, 1.0))[0].rate == 0.0


@pytest.mark.parametrize(("share", "expected"), [(0.25, 0.05), (0.5, 0.1), (0.75, 0.15), (1, 0.2)])
def test_quantile_is_as_prometheus_estimates_it(share, expected):
    found = Scrape(BUCKETS, 0.0).quantile(share, "messaging_process_duration_seconds")
    assert found == pytest.approx(expected)


def test_quantile_beyond_all_buckets_is_the_last_bound():
    text = 'x_bucket{le="0.5"} 1\nx_bucket{le="+Inf"} 9\n'
    assert Scrape(text, 0.0).quantile(0.99, "x") == 0.5


@pytest.mark.parametrize("text", ["", 'x_bucket{le="0.5"} 0\nx_bucket{le="+Inf"} 0\n'])
def test_quantile_of_nothing_is_unknown(text):
    assert Scrape(text, 0.0).quantile(0.99, "x") is None


def test_nobody_who_answers_is_an_error():
    with listen("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(OSError, match="refused"):
        scrape(f"http://127.0.0.1:{port}/metrics", 0.0)
