"""`saga top`, with what a scrape has told."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from saga.runtime.cli import top as module
from saga.runtime.errors import NotRunning, SagaError
from saga.runtime.metrics.scrape import Scrape
from saga.runtime.settings import Settings
from saga.runtime.system.process import ProcessInfo
from saga.runtime.system.state import System, lock_system, write_system

ONE = """
saga_instances{function="b.bake",state="ready"} 1
kafka_consumergroup_members{consumergroup="b.bake"} 0
kafka_consumergroup_lag{consumergroup="b.bake",topic="bake",partition="0"} 1234
messaging_client_consumed_messages_total{messaging_consumer_group_name="b.bake"} %d
saga_sagas{saga="feast",status="RUNNING"} 2
saga_sagas{saga="feast",status="COMPENSATING"} 0
saga_sagas{saga="feast",status="FAILED"} 0
saga_oldest_open_age_seconds{saga="feast"} 12.34
"""

Screen = Callable[[], str]


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """A terminal, and what has been written to it."""
    written = io.StringIO()
    monkeypatch.setattr(module, "console", Console(file=written, width=100, force_terminal=True))
    return written.getvalue


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """A data directory on which a system runs."""
    with lock_system(tmp_path):
        yield tmp_path


def publish(data: Path, *processes: ProcessInfo) -> None:
    write_system(data, System(broker="x:1", stacks=data, processes=list(processes)))


def test_address_is_that_of_the_metrics_process(data: Path) -> None:
    publish(data, ProcessInfo(name="metrics", kind="metrics", port=1234))
    settings = Settings(saga_data=data, saga_host="0.0.0.0")
    assert module._address(settings) == "http://127.0.0.1:1234/metrics"


def test_system_that_serves_none_says_so(data: Path) -> None:
    publish(data, ProcessInfo(name="broker", kind="broker", port=1234))
    with pytest.raises(NotRunning, match="SAGA_METRICS_PORT"):
        module._address(Settings(saga_data=data))


def test_tables_tell_what_is_known_and_what_is_not(screen: Screen) -> None:
    module._tell(Scrape(ONE % 50, 2.0), Scrape(ONE % 25, 1.0), as_json=False)
    function, saga = (line for line in screen().splitlines() if "b.bake" in line or "feast" in line)
    assert "25/s" in function
    assert "1234" in function
    assert function.count("unknown") == 3  # the age of the oldest record, errors, p99
    assert "12.3 s" in saga
    assert saga.count("unknown") == 1  # how many end


def test_age_of_no_saga_is_neither_a_number_nor_unknown(screen: Screen) -> None:
    text = (ONE % 1).replace('"RUNNING"} 2', '"RUNNING"} 0').replace("saga_oldest", "x")
    module._tell(Scrape(text, 2.0), Scrape(text, 1.0), as_json=False)
    [saga] = (line for line in screen().splitlines() if "feast" in line)
    assert saga.count("unknown") == 1  # how many end


def test_live_it_goes_on_and_tells_how_old_it_is_where_nobody_answers(
    screen: Screen, monkeypatch: pytest.MonkeyPatch, data: Path
) -> None:
    publish(data, ProcessInfo(name="metrics", kind="metrics", port=1))
    looks: list[Scrape | None] = [Scrape(ONE % 10, 1.0), Scrape(ONE % 17, 2.0), None]
    waits = iter([None, None, KeyboardInterrupt()])

    def look(_: str) -> Scrape:
        if (found := looks.pop(0)) is None:
            raise SagaError("nobody is there")
        return found

    def wait(_: float) -> None:
        if (end := next(waits)) is not None:
            raise end

    monkeypatch.setattr(module, "_look", look)
    monkeypatch.setattr("saga.runtime.cli.top.time.sleep", wait)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    module.top(data)
    told = screen()
    assert "7/s" in told
    assert "nobody is there; this is" in told


def test_nobody_who_answers_is_one_line() -> None:
    with pytest.raises(SagaError, match="does not answer"):
        module._look("http://127.0.0.1:1/metrics")
