"""A process that runs alone serves what it counts; a supervised one counts in its files."""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry

from saga.runtime import Command, Event
from saga.runtime.address import listen
from saga.runtime.function import Function
from saga.runtime.metrics import instruments as module
from saga.runtime.metrics.instruments import Instruments
from saga.runtime.observer import NOBODY
from saga.runtime.settings import Settings
from saga.runtime.system.counting import counting
from support.ports import free_port

ZERO = 'saga_commands_total{function="bakery.bake",outcome="done"} 0.0'


class Baked(Event, topic="bakery.events"):
    pass


class Bake(Command, topic="bakery.bake", event=Baked):
    pass


def bake(command: Bake) -> Baked:
    return Baked()


FUNCTION = Function("bakery.bake", bake, "command", (Bake.topic,), Bake)


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instruments on which no other test counts."""
    instruments = Instruments(CollectorRegistry())
    monkeypatch.setattr(module, "of_this_process", lambda: instruments)


def test_where_metrics_are_off_nobody_counts() -> None:
    with counting(FUNCTION, Settings(saga_metrics_port=0), "sqlite://") as observer:
        assert observer is NOBODY


def test_process_that_runs_alone_serves_what_it_counts_until_it_ends() -> None:
    """Its broker is away, so nobody knows how far it is behind."""
    port, broker = free_port(), f"127.0.0.1:{free_port()}"
    settings = Settings(saga_metrics_port=port).on_broker(broker)
    with counting(FUNCTION, settings, "sqlite://") as observer:
        assert observer is not NOBODY
        text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30, verify=False).text
        assert ZERO in text
        assert "kafka_consumergroup_lag{" not in text
    listen("127.0.0.1", port).close()


def test_process_whose_port_is_taken_works_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    with listen("127.0.0.1", 0) as taken:
        settings = Settings(saga_metrics_port=taken.getsockname()[1])
        with counting(FUNCTION, settings, "sqlite://") as observer:
            assert observer is not NOBODY
    assert len(caplog.messages) == 1


def test_process_whose_files_cant_be_had_works_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "full").touch()
    settings = Settings(saga_metrics_port=1, saga_counts=tmp_path / "full" / "bakery.bake")
    with counting(FUNCTION, settings, "sqlite://") as observer:
        assert observer is not NOBODY
    [told] = caplog.messages
    assert told.startswith("nothing of this process is counted: ")


def test_supervised_process_counts_in_its_files_and_serves_nothing(tmp_path: Path) -> None:
    """In a process of its own, as what it counts in is for good."""
    code = """
import socket, sys
from pathlib import Path
from saga.runtime.settings import Settings
from saga.runtime.system.counting import counting
from tests.unit.runtime.system.test_counting import FUNCTION

port, counts = int(sys.argv[1]), Path(sys.argv[2])
with counting(FUNCTION, Settings(saga_metrics_port=port, saga_counts=counts), "sqlite://"):
    print(socket.socket().connect_ex(("127.0.0.1", port)) != 0)
"""
    root = Path(__file__).parents[4]
    command = [sys.executable, "-c", code, str(free_port()), str(tmp_path / "bakery.bake")]
    ran = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=True,
        cwd=root,
        env={"PYTHONPATH": f"{root}:{root / 'tests'}"},
    )
    assert ran.stdout == "True\n"
    files = sorted(file.name for file in tmp_path.iterdir())
    kinds = ("counter", "gauge_max", "histogram")
    assert files == [f"{kind}_bakery.bake.db" for kind in kinds]
