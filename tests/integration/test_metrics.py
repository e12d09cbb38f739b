"""The metrics of a running system: what is served, and that it is so."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial

import httpx
import pytest

from saga.runtime.database.connection import connect
from saga.runtime.dead_letter import SUFFIX
from saga.runtime.envelope import Record
from saga.runtime.inbox import InboxRow
from saga.runtime.kafka.producer import Producer
from saga.runtime.kafka.reading import read_topics
from saga.runtime.metrics.alerts import alerts
from saga.runtime.metrics.catalogue import ALL
from saga.runtime.metrics.dashboard import expressions
from saga.runtime.metrics.scrape import Scrape
from saga.runtime.settings import Settings
from support.command import SAGA
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
        return httpx.get(self.url, headers=headers, timeout=30, verify=False).text

    def scrape(self) -> Scrape:
        return Scrape(self.text(), 0.0)

    def received(self) -> dict[str, float]:
        """Return how many records each function has received."""
        scrape, name = self.scrape(), "messaging_client_consumed_messages_total"
        told = {f: scrape.total(name, messaging_consumer_group_name=f) for f in COMMANDS.values()}
        return {function: count or 0 for function, count in told.items()}

    def ends(self) -> dict[str, float]:
        """Return how many records each function's topic has."""
        scrape, name = self.scrape(), "kafka_topic_partition_current_offset"
        told = {function: scrape.total(name, topic=topic) for topic, function in COMMANDS.items()}
        return {function: count or 0 for function, count in told.items()}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measured]:
    port = free_port()
    with run_system(
        tmp_path_factory.mktemp("system"),
        prepare=lambda system: system.environment.update(SAGA_METRICS_PORT=str(port)),
    ) as system:
        yield Measured(system, port)


COMMANDS = {
    "order.create": "order.create_order",
    "order.complete": "order.complete_order",
    "order.cancel": "order.cancel_order",
    "product.reserve": "product.reserve_product",
    "product.release": "product.release_product",
    "user.pay": "user.process_payment",
    "user.refund": "user.refund_payment",
}
OUTCOMES = ("done", "rejected", "failed", "duplicate", "dead")
NAME = re.compile(r"\b(?:saga|kafka|messaging|http)_\w+")
MOST_SERIES = 300


@pytest.fixture(scope="module")
def worked(measured: Measured) -> Measured:
    """The system after orders, refusals, a duplicate and dead letters."""
    system = measured.system
    user, product = system.make_user("30.00"), system.make_product("10.00", stock=4)
    ends = [system.order(user, product, quantity)["status"] for quantity in (1, 1, 3, 2)]
    assert ends == ["COMPLETED", "COMPLETED", "COMPENSATED", "COMPENSATED"]
    settings = Settings().on_broker(system.broker())
    producer = Producer(settings)
    again = read_topics(settings, ["product.reserve"])[0]
    junk = [Record(topic, b"k", b"junk", []) for topic in ("product.reserve", "order.events")]
    unread = Record("user.pay", b"k", b"{", again.headers)
    producer.send_records([again, *junk, unread])
    producer.close()
    wait_until(lambda: measured.received() == measured.ends(), "all is received")
    # Each process writes what it has counted once a second.
    posts = "http_server_request_duration_seconds_count"
    all_of = {"saga_dead_letters_total": 3, "saga_ended_total": 4, posts: 4}
    asked = {posts: {"service": "orchestrator", "http_request_method": "POST"}}
    for name, count in all_of.items():
        total = partial(lambda name: measured.scrape().total(name, **asked.get(name, {})), name)
        wait_until(partial(lambda total, count: total() == count, total, count), name)
    return measured


def test_promtool_finds_nothing(worked: Measured) -> None:
    assert promtool("check", "metrics", stdin=worked.text()) == ""


def test_of_each_received_command_it_is_told_what_became_of_it(worked: Measured) -> None:
    scrape, name = worked.scrape(), "saga_commands_total"
    told = {
        function: [scrape.total(name, function=function, outcome=outcome) for outcome in OUTCOMES]
        for function in COMMANDS.values()
    }
    sums = {function: sum(count or 0 for count in counts) for function, counts in told.items()}
    assert sums == worked.received()
    assert told["product.reserve_product"] == [3, 1, 0, 1, 1]
    assert told["user.process_payment"] == [2, 1, 0, 0, 1]
    assert told["order.create_order"] == [4, 0, 0, 0, 0]


def test_counts_agree_with_the_databases(worked: Measured) -> None:
    """With the sagas, the answers that services remember, and the dead letters of the broker."""
    settings, scrape = worked.system.settings(), worked.scrape()
    sagas = worked.system.http("GET", "orchestrator", "/sagas").json()
    for status, count in {"COMPLETED": 2, "COMPENSATED": 2, "FAILED": 0}.items():
        assert len([saga for saga in sagas if saga["status"] == status]) == count
        assert scrape.total("saga_ended_total", status=status) == count
        stored = partial(lambda status: worked.scrape().total("saga_sagas", status=status), status)
        wait_until(partial(lambda stored, count: stored() == count, stored, count), status)
    for service in ("order", "product", "user"):
        own = [function for function in COMMANDS.values() if function.startswith(service)]
        with closing(connect(settings.database_url(service))) as database:
            for outcome in ("done", "rejected"):
                kept = InboxRow.select().where(InboxRow.outcome == outcome).bind(database).count()
                counted = [
                    scrape.total("saga_commands_total", function=function, outcome=outcome) or 0
                    for function in own
                ]
                assert sum(counted) == kept
    letters = [f"{topic}{SUFFIX}" for topic in (*COMMANDS, "order.events")]
    found = read_topics(Settings().on_broker(worked.system.broker()), letters)
    assert scrape.total("saga_dead_letters_total") == len(found) == 3
    assert scrape.total("saga_dead_letters_total", topic="order.events") == 1


def test_time_of_the_sagas_is_told_by_step_and_part(worked: Measured) -> None:
    scrape = worked.scrape()
    step = {"saga": "place-order", "step": "create_order", "action": "do"}
    assert scrape.total("saga_step_attempts_total", **step) == 4
    for part in ("queue", "turn", "handler", "commit", "reply"):
        told = {**step, "part": part}
        assert 0 <= (scrape.total("saga_step_seconds_total", **told) or 0) < 100


def test_requests_of_adapters_are_counted(worked: Measured) -> None:
    told = {"service": "orchestrator", "http_request_method": "POST", "http_route": "/orders"}
    assert worked.scrape().total("http_server_request_duration_seconds_count", **told) == 4
    own = worked.system.http("GET", "orchestrator", "/metrics").text
    assert Scrape(own, 0.0).total("http_server_request_duration_seconds_count", **told) == 4


def test_function_has_few_series(worked: Measured) -> None:
    hosted = {"orchestrator.place_order": {"place-order"}}
    for function in [*COMMANDS.values(), *hosted]:
        names = {function} | hosted.get(function, set())
        series = [line for line in worked.text().splitlines() if labels(line) & names]
        assert 10 < len(series) <= MOST_SERIES, function


def labels(line: str) -> set[str]:
    """Return the values of a sample's labels."""
    return set() if line.startswith("#") else set(re.findall(r'="(.*?)"', line))


def test_no_label_has_an_id(worked: Measured) -> None:
    uuid = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-")
    assert [line for line in worked.text().splitlines() if uuid.search(line)] == []


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


@contextmanager
def run_alone(system: RunningSystem, name: str) -> Iterator[str]:
    """Run a function or a saga in a process of its own, as a container does; give its URL."""
    port, folder = free_port(), {"SAGA_DATA": str(system.data), "SAGA_STACKS": str(system.stacks)}
    own = {**os.environ, **folder, "SAGA_METRICS_PORT": str(port)}
    with subprocess.Popen([SAGA, "run", name], env=own, stderr=subprocess.DEVNULL) as process:
        try:
            yield f"http://127.0.0.1:{port}/metrics"
        finally:
            process.terminate()


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("order.create_order", ("saga_commands_total", {"outcome": "done"})),
        ("orchestrator.place_order", ("saga_sagas", {"status": "COMPLETED"})),
    ],
)
def test_process_that_runs_alone_serves_its_own(
    worked: Measured, name: str, known: tuple[str, dict[str, str]]
) -> None:
    with run_alone(worked.system, name) as url:

        def alone() -> Scrape:
            try:
                return Scrape(httpx.get(url, timeout=30, verify=False).text, 0.0)
            except httpx.ConnectError:
                return Scrape("", 0.0)

        members = "kafka_consumergroup_members"
        wait_until(lambda: alone().total(members, consumergroup=name) == 2, "it is a member")
        scrape = alone()
        metric, told = known
        assert scrape.total(metric, **told) is not None
        assert scrape.most("saga_lag_seconds", consumergroup=name) is not None
        assert scrape.values(members, "consumergroup") == {name}
        assert scrape.total("process_cpu_seconds_total")
        assert (
            promtool("check", "metrics", stdin=httpx.get(url, timeout=30, verify=False).text) == ""
        )


def test_counts_of_a_killed_function_go_on(worked: Measured) -> None:
    told = {"function": "order.create_order", "outcome": "done"}
    before = worked.scrape().total("saga_commands_total", **told)
    os.kill(worked.system.processes()["order.create_order"]["pid"], signal.SIGKILL)
    worked.system.order(worked.system.make_user(), worked.system.make_product())
    wait_until(
        lambda: worked.scrape().total("saga_commands_total", **told) == (before or 0) + 1,
        "its successor's count is written",
    )


def test_dashboard_and_alerts_ask_for_what_there_is(worked: Measured) -> None:
    """Also for the oldest open saga: one waits for a function that was removed."""
    system = worked.system
    system.saga("remove", "order.complete_order")
    system.order(system.make_user(), system.make_product(), wait=0)
    oldest = "saga_oldest_open_age_seconds"
    wait_until(lambda: worked.scrape().most(oldest, saga="place-order"), "a saga is open")
    # What the broker says is kept for some seconds.
    removed = {"consumergroup": "order.complete_order"}
    wait_until(
        lambda: worked.scrape().total("kafka_consumergroup_members", **removed) is None,
        "the removed function has no members",
    )
    scrape = worked.scrape()
    queries = [query for metric in ALL for query in expressions(metric, "5m")]
    queries += [rule["expr"] for rule in alerts(COMMANDS.values())["groups"][0]["rules"]]
    told = {name for query in queries for name in NAME.findall(query)}
    told -= {label for metric in ALL for label in metric.labels}
    assert told - scrape.names == set()
    assert len(told) >= len(ALL)


def test_console_tells_the_same_of_a_function(worked: Measured) -> None:
    told = ["Members 1", "Rate 0/s", "Lag 0", "Errors 1", "Dead letters 1", "Restarts 0"]

    def numbers() -> list[str]:
        path = "/console/functions/product.reserve_product"
        page = worked.system.http("GET", "orchestrator", path).text
        facts = page.partition('<dl class="facts">')[2].partition("</dl>")[0]
        found = re.findall(r"<dt>(.+?)</dt><dd>(.+?)</dd>", facts)
        return [f"{name} {re.sub('<.+?>', '', value)}" for name, value in found]

    wait_until(lambda: {*told} <= {*numbers()}, "all is known")
    assert [one for one in numbers() if "unknown" in one] == []
