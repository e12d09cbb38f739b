"""Where a system can be started, how it is shown, and what is left alone."""

import io
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from unittest import mock

import pytest

from saga.runtime.cli import running, terminal
from saga.runtime.cli.running import up
from saga.runtime.cli.terminal import Terminal
from saga.runtime.cli.welcome import consoles, welcome
from saga.runtime.data_directory import NotOurs, claim
from saga.runtime.deploy.target import Instance
from saga.runtime.errors import BrokerUnavailable, SagaError
from saga.runtime.settings import Settings
from saga.runtime.system import host
from saga.runtime.system.process import ProcessInfo
from saga.runtime.system.state import (
    System,
    has_leftovers,
    identity,
    is_locked,
    lock_system,
    write_system,
)
from saga.runtime.system.supervisor import Supervisor
from saga.runtime.system.wanted import read_record, write_wanted
from support.command import run_saga
from support.waiting import DEADLINE

READING = ["check", "deployments user", "dlq list", "down", "invoke user.refund_payment --body {}"]
READING += ["logs", "ps", "sagas", "show x"]


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
    monkeypatch.setattr(running, "configure_logging", lambda *_: None)
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


def test_logs_of_no_system_say_how_to_start_one(tmp_path):
    done = run_saga(["logs", "--data", "data"], {}, tmp_path)
    assert done.stderr == "saga: no system runs on data: start one with `saga up`\n"
    assert done.returncode == 1


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
        monkeypatch.setattr(terminal, "console", Terminal(file=out, width=80, markup=False))
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


@pytest.mark.parametrize("words", READING)
def test_a_command_that_reads_makes_nothing(tmp_path, words):
    run_saga(words.split(), {}, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", ["ps", "ps --data="])
def test_an_empty_variable_is_not_the_current_folder(tmp_path, words):
    with lock_system(tmp_path):
        told = run_saga(words.split(), {"SAGA_DATA": ""}, tmp_path).stderr
        assert is_locked(tmp_path)
    assert told == "saga: no system runs on .saga: start one with `saga up`\n"


def test_down_ends_what_a_killed_supervisor_has_left_and_holds_the_folder_for_it(tmp_path):
    claim(tmp_path)
    with subprocess.Popen(["sleep", "600"]) as left:
        info = ProcessInfo(name="x", kind="function")
        info.runs_as(left.pid)
        found = System(folder=identity(tmp_path), broker="", stacks=tmp_path, processes=[info])
        write_system(tmp_path, found)
        with mock.patch.object(running, "has_leftovers", return_value=True), lock_system(tmp_path):
            (tmp_path / "system.json").rename(tmp_path / "kept")
            told = run_saga(["down", "--data", str(tmp_path)], {}).stderr
            (tmp_path / "kept").rename(tmp_path / "system.json")
        assert "a system already runs on" in told
        assert left.poll() is None
        done = run_saga(["down", "--data", str(tmp_path)], {})
        assert "No system ran any more; ended what was left of it: x." in done.stdout
        assert done.returncode == 0
        assert left.wait(DEADLINE) == -signal.SIGTERM
    assert not has_leftovers(tmp_path)


def test_down_after_a_service_manager_has_stopped_the_system_forgets_what_ran(tmp_path):
    claim(tmp_path)
    write_wanted(tmp_path, {})
    for told in ("No system ran any more; what it ran is forgotten.", "saga: no system runs on"):
        done = run_saga(["down", "--data", str(tmp_path)], {})
        assert told in done.stdout + done.stderr
    assert read_record(tmp_path) is None


def test_a_system_file_of_another_supervisor_is_no_one_to_stop(tmp_path):
    """Be it that the one which holds the folder has not written its own yet."""
    with subprocess.Popen(["sleep", "600"]) as other, lock_system(tmp_path):
        info = ProcessInfo(name="supervisor", kind="supervisor", pid=other.pid, born=1.0)
        write_system(tmp_path, System(broker="", stacks=tmp_path, processes=[info]))
        told = run_saga(["down", "--data", str(tmp_path)], {}).stderr
        assert "has just begun to start: try again" in told
        assert other.poll() is None
        other.kill()


def test_what_a_database_says_is_one_line(tmp_path):
    """Be it that its tables are not there yet."""
    claim(tmp_path)
    (tmp_path / "orchestrator.db").touch()
    told = run_saga(["sagas"], {"SAGA_DATA": str(tmp_path)}).stderr
    assert told.startswith("saga: no such table: ")
    assert told.count("\n") == 1


@pytest.mark.parametrize("broker", ["embeded", "nowhere.invalid:9092"])
def test_a_broker_that_is_none_is_told_at_once(tmp_path, broker):
    with pytest.raises(BrokerUnavailable, match=f"^broker: neither embedded nor kafka, .*{broker}"):
        Supervisor(Settings(saga_data=tmp_path), broker, lambda _: {})


def test_wrong_settings_are_one_line_of_saga_check_too():
    told = run_saga(["check"], {"SAGA_LOG_LEVEL": "loud"}).stderr
    assert told.startswith("saga: environment variable SAGA_LOG_LEVEL: ")


@pytest.mark.parametrize("name", ["order.create_order", "order"])
def test_run_writes_nothing_into_a_folder_that_is_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "mine").touch()
    monkeypatch.setattr(running, "configure_logging", lambda *_: None)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(NotOurs, match="no data directory"):
        running.run(name, data=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_demo_is_advised_where_its_orders_are(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(running, "open_target", lambda _: mock.Mock(instances=list))
    running._show_all(Settings())
    assert "Try: saga demo" in capsys.readouterr().out
    (tmp_path / "own.toml").write_text('service = "own"\npackage = "own"\ndatabase = "own"\n')
    running._show_all(Settings(saga_stacks=tmp_path))
    assert "saga demo" not in capsys.readouterr().out


@pytest.mark.parametrize("words", [*READING, "up", "up --detach"])
def test_data_directory_that_is_a_file_is_told_in_one_line(tmp_path, words):
    if words == "check":
        return  # it has no data directory
    (tmp_path / "data").touch()
    environment = {"SAGA_DATA": "data", "SAGA_STACKS": str(Settings().saga_stacks)}
    done = run_saga(words.split(), environment, tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        f"saga: {tmp_path}/data is a file: choose another data directory with --data\n"
    )


@pytest.mark.parametrize(
    ("mode", "found"),
    [
        ("on", ["http://127.0.0.1:8003/console"]),
        ("read-only", ["http://127.0.0.1:8003/console"]),
        ("off", []),
    ],
)
def test_consoles_are_beside_sagas(mode, found):
    assert consoles(Settings(saga_console=mode)) == found


def test_a_system_without_adapters_is_told_of_no_page(tmp_path):
    stack = 'service = "gift"\npackage = "gift"\ndatabase = "gift"\n[functions.wrap]\n'
    (tmp_path / "gift.toml").write_text(stack)
    assert welcome(Settings(saga_stacks=tmp_path)) == ""
