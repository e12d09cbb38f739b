"""The pages of functions: over a running system's files and metrics, and where there are none."""

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from saga.runtime.console import functions as module
from saga.runtime.console.functions import LONGEST_LINE, MOST_LINES
from saga.runtime.deploy import history
from saga.runtime.deploy.artifact import ArtifactError
from saga.runtime.deploy.history import Deployment
from saga.runtime.deploy.store import FolderStore
from saga.runtime.saga_store import TABLES, SagaStore
from support.api import empty
from support.console import (
    Console,
    Metrics,
    Supervised,
    begin,
    fail,
    process,
    serve_metrics,
    start,
    supervised,
)
from support.waiting import wait_until

OLD, NEW = "1" * 64, "2" * 64
HOSTILE = "<script>alert(1)</script>"
TOLD = """
kafka_consumergroup_members{consumergroup="bakery.bake"} 2
kafka_consumergroup_lag{consumergroup="bakery.bake",topic="bakery.bake",partition="0"} 1234
saga_lag_seconds{consumergroup="bakery.bake",topic="bakery.bake"} 75
saga_commands_total{function="bakery.bake",outcome="failed"} 3
saga_dead_letters_total{topic="bakery.bake"} 2
messaging_client_consumed_messages_total{messaging_consumer_group_name="bakery.bake"} 10
messaging_process_duration_seconds_bucket{messaging_consumer_group_name="bakery.bake",le="0.1"} 50
messaging_process_duration_seconds_bucket{messaging_consumer_group_name="bakery.bake",le="0.2"} 100
messaging_process_duration_seconds_bucket{messaging_consumer_group_name="bakery.bake",le="+Inf"} 100
"""


class Running:
    """A console in a system whose files and metrics are as a test says."""

    def __init__(self, console: Console, system: Supervised, metrics: Metrics) -> None:
        self.console, self.system, self.metrics = console, system, metrics

    def publish(self, *processes: Any) -> None:
        self.system.publish(*processes, self.metrics.process)

    def page(self, path: str = "") -> str:
        """Return what stands on a page, without its marks, once all have answered."""

        def answered() -> str:
            answer = self.console.get(f"/functions{path}")
            assert answer.status == 200
            return "" if "answered yet" in answer.text else str(answer.text)

        return wait_until(answered, "metrics and store have answered")

    def words(self, path: str = "") -> str:
        return words(self.page(path))


def words(page: str) -> str:
    main = page.partition("<main")[2].partition("</main>")[0]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", main))


def row(page: str, name: str) -> str:
    found = page.partition(f'<tr id="function-{name}"')[2].partition("</tr>")[0]
    return words(f"<main>{found}</main>")


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    data = tmp_path_factory.mktemp("system") / "data"
    with ExitStack() as stack:
        system = stack.enter_context(supervised(data))
        metrics = stack.enter_context(serve_metrics(TOLD))
        system.declare("bakery", functions="bake eat", sagas="order_cake")
        (data / "logs").mkdir()
        api = stack.enter_context(start(data, saga_metrics_port=9464))
        yield Running(Console(api), system, metrics)


@pytest.fixture
def running(everything: Running) -> Running:
    empty(everything.console.api, TABLES)
    for log in (everything.system.data / "logs").iterdir():
        log.unlink()
    return everything


@pytest.fixture
def sagas(running: Running) -> SagaStore:
    return SagaStore(running.console.api.app.ctx.threads.database)


def test_list_tells_how_each_function_keeps_up(running):
    bake = process("bakery.bake", topic="bakery.bake", restarts=4)
    running.publish(bake, process("bakery.bake", 2, topic="bakery.bake"))
    told = row(running.page(), "bakery.bake")
    assert "bakery.bake 111111111111 \N{MULTIPLICATION SIGN} 2 Ready" in told
    for number in ("1234", "1 min 15 s", "100 ms", "198 ms"):
        assert f" {number} " in told
    assert re.search(r" 5 +2 +4 *$", told)  # errors, dead letters, restarts


def test_what_is_declared_and_does_not_run_is_not_forgotten(running):
    running.publish(process("bakery.bake", topic="bakery.bake"))
    page = running.page()
    assert "Not running" in row(page, "bakery.eat")
    assert "unknown" in row(page, "bakery.eat")
    assert "saga" in row(page, "bakery.order_cake")
    assert "Nothing: messages wait until it is deployed" in running.words("/bakery.eat")


def test_what_nobody_knows_is_neither_0_nor_good(running):
    running.publish(process("bakery.bake"), process("bakery.eat", topic="bakery.eat"))
    told = row(running.page(), "bakery.eat")
    assert told.count("unknown") == 6
    assert re.findall(r" \d+ ", told.replace("111111111111", "")) == [" 0 "]  # its restarts


def test_clock_needs_no_members_and_is_never_behind(running):
    running.publish(process("bakery.tick"))
    told = row(running.page(), "bakery.tick")
    assert told.count("\N{EN DASH}") == 4
    assert "None: it runs by the clock." in running.words("/bakery.tick")


def test_version_that_drains_tells_the_sagas_that_are_left(running, sagas):
    for number in (1, 2, 3):
        begin(sagas, number)
    fail(sagas, begin(sagas, 4))
    running.publish(
        process("bakery.bake", version=OLD, state="stopping", topic="bakery.bake"),
        process("bakery.bake", 2, version=NEW, topic="bakery.bake"),
        process("bakery.order_cake", kind="saga", state="stopping", topic="bakery.events"),
        process("other.thing", state="stopping"),
    )
    page = running.page()
    assert "222222222222 111111111111 drains, 3 sagas left Ready" in row(page, "bakery.bake")
    assert "drains, 3 sagas left Draining" in row(page, "bakery.order_cake")
    assert "drains, sagas left unknown" in row(page, "other.thing")
    assert "No saga is bound to a version" in running.words("/bakery.bake")


def test_one_of_two_that_is_not_ready_is_told(running):
    running.publish(process("bakery.bake"), process("bakery.bake", 2, state="restarting"))
    assert "Restarting 1 of 2 ready" in row(running.page(), "bakery.bake")


def test_page_of_a_function_tells_of_its_processes(running):
    born = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()
    failing = process("bakery.bake", 2, state="unhealthy", problem="no secret CARD")
    running.publish(
        process("bakery.bake", pid=4711, born=born, restarts=1, topic="bakery.bake"), failing
    )
    told = running.words("/bakery.bake")
    assert "Unhealthy" in told
    assert "no secret CARD" in told
    assert "process 4711 since 2026-01-02 03:04:05 UTC , 1 restart" in told
    assert "bakery.bake-2 no restarts" in told


def test_page_of_a_function_leads_to_its_dead_letters(tmp_path):
    with supervised(tmp_path / "data") as system:
        system.declare("bakery", functions="bake")
        system.publish()
        with start(tmp_path / "data", kafka_bootstrap_servers="127.0.0.1:1") as api:
            page = Console(api).get("/functions/bakery.bake").text
    assert 'href="/console/dead-letters?topic=bakery.bake"' in page


def test_unknown_function_is_told_with_those_that_there_are(running):
    running.publish()
    answer = running.console.get("/functions/bakery.nothing")
    assert answer.status == 404
    assert "no function or saga bakery.nothing here; there are: bakery.bake, " in answer.text


def deployment(version: str, minute: int, **more: Any) -> Deployment:
    at = datetime(2026, 1, 1, 12, minute, tzinfo=UTC)
    return Deployment(
        system="saga/process", name="bakery.bake", version=version, at=at, by="ann@host", **more
    )


def test_deploys_are_told_the_newest_first(tmp_path):
    with supervised(tmp_path / "data") as system:
        system.declare("bakery", functions="bake")
        system.publish(process("bakery.bake", version=NEW))
        store = FolderStore(tmp_path / "data" / "artifacts")
        history.record(store, [deployment(OLD, 1, commit="c" * 40, dirty=True)])
        history.record(store, [deployment(NEW, 2)])
        with start(tmp_path / "data") as api:
            told = Running(Console(api), system, Metrics("")).words("/bakery.bake")
    newest, older = "2026-01-01 12:02:00 222222222222 runs by ann@host", "2026-01-01 12:01:00"
    assert newest in told
    assert told.index(newest) < told.index(older)
    changed = "111111111111 replaced by ann@host, commit cccccccccccc, with changes"
    assert changed in told


def test_store_that_cant_be_read_says_why(running, monkeypatch):
    def away(_: str) -> None:
        raise ArtifactError("the bucket is gone")

    monkeypatch.setattr(module, "open_store", away)
    running.publish(process("bakery.oven"))
    assert "unknown : ArtifactError: the bucket is gone" in running.words("/bakery.oven")


def test_last_lines_of_all_instances_are_shown_in_the_order_of_their_times(running):
    logs = running.system.data / "logs"
    lines = [f"2026-01-01T00:00:{n:02}.5Z INFO a line {n}\n" for n in range(60)]
    (logs / "bakery.bake.log").write_text("".join(lines[::2]))
    (logs / "bakery.bake-2.log").write_text("".join(lines[1::2]))
    (logs / "bakery.baker.log").write_text("2026-01-01T00:01:00Z of another\n")
    running.publish(process("bakery.bake"))
    told = running.words("/bakery.bake")
    assert re.findall(r"a line (\d+)", told) == [str(n) for n in range(60 - MOST_LINES, 60)]
    assert "of another" not in told
    assert "saga logs bakery.bake -f" in told


def test_log_shows_no_secret_and_nothing_that_steers(running, monkeypatch):
    monkeypatch.setattr("saga.runtime.system.logs._secrets", ["hush-hush"])
    odd = "\x1b[2J\u202e" + HOSTILE
    text = f"{odd} hush-hush postgresql://ann:pass@host/db {'x' * 9_999}\n"
    (running.system.data / "logs" / "bakery.bake.log").write_text(text)
    running.publish(process("bakery.bake"))
    page = running.page("/bakery.bake")
    assert r"\x1b[2J\u202e&lt;script&gt;alert(1)&lt;/script&gt; *** postgresql://…@host/db" in page
    assert "x" * LONGEST_LINE not in page
    assert HOSTILE not in page


def test_function_that_has_logged_nothing_says_so(running):
    running.publish(process("bakery.bake"))
    assert "It has logged nothing." in running.words("/bakery.bake")


def test_what_was_seen_is_drawn_with_a_name(running):
    running.publish(process("bakery.bake", topic="bakery.bake"))
    name = 'aria-label="Lag of the last five minutes: at most 1234, now 1234"'
    wait_until(lambda: name in running.page("/bakery.bake"), "it was looked at twice")


def test_pages_are_small_and_go_on_by_themselves(running):
    running.publish(*(process(f"bakery.bake_{n}", topic="t") for n in range(100)))
    for path in ("", "/bakery.bake_1"):
        page = running.page(path)
        assert len(page.encode()) <= 200_000
        assert 'data-goes-on="2"' in page


def test_page_does_not_wait_for_what_takes_a_while(tmp_path, monkeypatch):
    asked: list[float] = []

    def get(_: object, by: float) -> None:
        asked.append(by - time.monotonic())

    monkeypatch.setattr("saga.runtime.console.kept.Kept.get", get)
    with supervised(tmp_path / "data") as system:
        system.declare("bakery", functions="bake")
        system.publish()
        with start(tmp_path / "data") as api:
            page = Console(api).get("/functions/bakery.bake").text
    assert len(asked) == 2
    assert sum(asked) <= 0.2
    assert "nobody has answered yet" in page
    assert "the artifact store has not answered yet" in page


@pytest.fixture
def contained(tmp_path: Path) -> Iterator[Console]:
    """A console as in a container: it sees no supervisor, and its broker is away."""
    with start(tmp_path, kafka_bootstrap_servers="127.0.0.1:1", saga_metrics_port=9464) as api:
        yield Console(api)


def test_where_no_supervisor_is_seen_the_page_says_so_and_who_knows(contained):
    page = contained.get("/functions").text
    told = words(page)
    assert "docker-compose ps" in told
    assert "saga ps --target docker" in told
    assert "Ready" not in told
    assert row(page, "order.create_order").count("nknown") == 8


def test_where_no_supervisor_is_seen_each_part_names_its_command(contained):
    told = words(contained.get("/functions/product.reserve_product").text)
    for command in (
        "docker-compose ps product.reserve_product",
        "docker-compose logs -f product.reserve_product",
        "saga logs product.reserve_product -f --target docker",
        "saga deployments product.reserve_product --target docker",
    ):
        assert command in told


def test_no_page_of_functions_has_a_control(running):
    running.publish(process("bakery.bake"))
    for path in ("", "/bakery.bake"):
        assert "<form" not in running.page(path).partition("<main")[2].partition("</main>")[0]
