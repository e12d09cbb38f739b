"""Where a system can be started, and how it is shown."""

import io
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from saga.runtime.cli import running
from saga.runtime.cli.running import up
from saga.runtime.cli.terminal import Terminal
from saga.runtime.deploy.target import Instance
from saga.runtime.errors import SagaError
from saga.runtime.system import host
from saga.runtime.system.state import System, lock_system, write_system
from support.waiting import DEADLINE


@pytest.mark.parametrize("detach", [False, True])
def test_up_is_refused_where_it_can_not_run(tmp_path, monkeypatch, detach):
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(SagaError, match=r"^saga up needs Linux, macOS or WSL$"):
        up(data=tmp_path / "data", detach=detach)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "environment", "wanted"),
    [
        ("embedded", {}, ("127.0.0.1:9", True, 1000)),
        ("embedded", {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9"}, ("127.0.0.1:9", True, 1000)),
        ("embedded", {"KAFKA_SESSION_TIMEOUT_MS": "3000"}, ("127.0.0.1:9", True, 3000)),
        ("embedded", {"KAFKA_BOOTSTRAP_SERVERS": "there:1"}, ("there:1", False, 6000)),
        ("kafka", {}, ("127.0.0.1:9", False, 1000)),
        ("127.0.0.1:9", {}, ("127.0.0.1:9", False, 6000)),
        (None, {}, ("127.0.0.1:9", False, 6000)),
    ],
)
def test_process_that_is_run_by_hand_is_on_the_systems_broker(
    tmp_path, monkeypatch, kind, environment, wanted
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    address = "127.0.0.1:9"
    system = System(broker=address, broker_kind=kind, stacks=Path("stacks"), processes=[])
    assert run_by_hand(tmp_path, monkeypatch, system) == wanted


def test_process_that_is_run_by_hand_without_a_system_has_what_is_set(tmp_path, monkeypatch):
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "there:1")
    assert run_by_hand(tmp_path, monkeypatch, None) == ("there:1", False, 6000)


def run_by_hand(folder, monkeypatch, system):
    """Return on which broker a function runs beside a system, whether embedded, its session."""
    ran = []
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(running, "configure_logging", lambda _: None)
    monkeypatch.setattr(host, "prepare", lambda *_: None)
    monkeypatch.setattr(host, "run_entry", lambda _, __, settings: ran.append(settings))
    with lock_system(folder) if system else nullcontext():
        if system:
            write_system(folder, system)
        running.run("order.create_order", folder)
    [settings] = ran
    return (
        settings.kafka_bootstrap_servers,
        settings.kafka_is_embedded,
        settings.kafka_session_timeout_ms,
    )


def test_command_line_needs_nothing_that_only_unix_has():
    code = "import sys; sys.modules['fcntl'] = None; import saga.stacks.cli"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=DEADLINE)


INSTANCES = [
    Instance("order.create_order", "order.create_order", "function", "86a99af269ec7d", "ready"),
    Instance(
        "product.release_product-12",
        "product.release_product",
        "function",
        "86a99af269ec7d",
        "restarting",
        restarts=117,
        pid=4_194_304,
        where="order.events product.events user.events",
    ),
]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    def show(*, wide: bool) -> list[str]:
        out = io.StringIO()
        monkeypatch.setattr(running, "console", Terminal(file=out, width=80, markup=False))
        running.show(INSTANCES, wide=wide)
        return out.getvalue().splitlines()

    return show


def test_80_columns_hold_a_line_for_each_instance(shown: Callable[..., list[str]]) -> None:
    heading, *lines = shown(wide=False)
    assert heading.split() == ["NAME", "STATE", "VERSION", "RESTARTS", "WHERE"]
    assert [line.split()[:4] for line in lines] == [
        ["order.create_order", "ready", "86a99af269ec", "0"],
        ["product.release_product-12", "restarting", "86a99af269ec", "117"],
    ]
    assert lines[1].endswith("  117       order.events pr…")
    assert max(map(len, lines)) == 80


def test_all_that_is_known_is_shown_where_it_is_asked_for(
    shown: Callable[..., list[str]],
) -> None:
    heading, *lines = shown(wide=True)
    assert heading.split()[-3:] == ["KIND", "PID", "WHERE"]
    assert lines[1].split()[4:] == ["function", "4194304", *INSTANCES[1].where.split()]
