"""`saga up` and its family: start, restart, refuse, stop."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from saga.runtime.system.state import read_system
from support.waiting import DEADLINE

FUNCTIONS = {
    "order.create_order": "order.create",
    "order.complete_order": "order.complete",
    "order.cancel_order": "order.cancel",
    "product.reserve_product": "product.reserve",
    "product.release_product": "product.release",
    "user.process_payment": "user.pay",
    "user.refund_payment": "user.refund",
}
SAGAS = {"orchestrator.place_order": "order.events product.events user.events"}


def test_ps_lists_every_process(system: Any) -> None:
    processes = system.processes()
    kinds = {name: row["kind"] for name, row in processes.items()}
    assert kinds == {
        "supervisor": "supervisor",
        "broker": "broker",
        **dict.fromkeys(FUNCTIONS, "function"),
        **dict.fromkeys(SAGAS, "saga"),
        **dict.fromkeys(system.ports, "adapter"),
    }
    assert {row["state"] for row in processes.values()} == {"ready"}
    for name, port in system.ports.items():
        assert processes[name]["port"] == port
    for name, topic in FUNCTIONS.items():
        assert processes[name]["where"] == topic


def test_the_supervisor_has_no_client_of_kafka(system: Any) -> None:
    maps = {
        name: Path(f"/proc/{system.processes()[name]['pid']}/maps").read_text()
        for name in ("supervisor", "order.create_order")
    }
    assert {name: "librdkafka" in text for name, text in maps.items()} == {
        "supervisor": False,
        "order.create_order": True,
    }


@pytest.mark.parametrize("name", ["product.reserve_product", "orchestrator"])
def test_a_killed_process_is_started_again(
    system: Any, name: str, until: Callable[..., Any]
) -> None:
    before = system.processes()[name]
    os.kill(before["pid"], signal.SIGKILL)

    def back() -> bool:
        now = system.processes()[name]
        return now["state"] == "ready" and now["restarts"] == before["restarts"] + 1

    until(back, f"{name} runs again")
    saga = system.order(system.make_user(), system.make_product())
    assert saga["status"] == "COMPLETED"


def test_a_killed_broker_comes_back_and_sagas_go_on(system: Any, until: Callable[..., Any]) -> None:
    before = system.processes()["broker"]
    os.kill(before["pid"], signal.SIGKILL)
    until(lambda: system.processes()["broker"]["restarts"] > before["restarts"], "broker restarts")
    user, product = system.make_user(), system.make_product()
    assert system.ended(system.order(user, product, wait=0)["saga_id"])["status"] == "COMPLETED"


def test_the_fork_server_and_its_socket_may_go(system: Any, until: Callable[..., Any]) -> None:
    before = system.processes()
    shutil.rmtree(system.data / "run")
    psutil.Process(before["user"]["pid"]).parent().kill()
    user, product = system.make_user(), system.make_product()
    assert system.order(user, product)["status"] == "COMPLETED"
    os.kill(before["user"]["pid"], signal.SIGKILL)
    count = before["user"]["restarts"] + 1
    until(
        lambda: (
            (now := system.processes()["user"])["state"] == "ready" and now["restarts"] == count
        ),
        "what has ended runs again",
    )
    after = system.processes()
    assert after.pop("user")["pid"] != before.pop("user")["pid"]
    assert after == before


def test_a_second_up_on_the_same_directory_is_one_clear_line(system: Any) -> None:
    for mode in ([], ["--detach"]):
        refused = system.saga("up", *mode, check=False)
        assert refused.returncode == 1
        assert refused.stderr.count("\n") == 1
        assert "a system already runs on" in refused.stderr


def test_a_taken_port_is_one_clear_line(system: Any, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        stacks = tmp_path / "stacks"
        stacks.mkdir()
        text = (system.stacks / "user.toml").read_text()
        (stacks / "user.toml").write_text(re.sub(r"port = \d+", f"port = {port}", text))
        other = type(system)(tmp_path / "data", stacks, {})
        refused = other.saga("up", "--detach", check=False)
    assert refused.returncode == 1
    assert refused.stderr == (
        f"saga: port {port} of user on 127.0.0.1 can't be had: Address already in use\n"
    )


def test_commands_on_no_system_say_so(system: Any, tmp_path: Path) -> None:
    nowhere = type(system)(tmp_path / "nothing", system.stacks, {})
    for command in ("ps", "down", "demo", "bench"):
        refused = nowhere.saga(command, check=False)
        assert refused.returncode == 1
        assert "no system runs on" in refused.stderr


def test_logs_of_one_function(system: Any) -> None:
    assert "order.create_order starts" in system.saga("logs", "order.create_order").stdout
    assert "there are: broker, " in system.saga("logs", "nobody", check=False).stderr


def test_demo_tells_three_stories(system: Any) -> None:
    told = system.saga("demo").stdout
    for line in ("saga COMPLETED", "has fewer than 5 left", "has less than 19.99"):
        assert line in told
    assert told.count("saga COMPENSATED") == 2
    assert "Ada had 100.00 and has 60.02." in told


def test_sagas_and_show(system: Any) -> None:
    saga = system.order(system.make_user("1.00"), system.make_product("2.00"))
    listed = json.loads(system.saga("sagas", "--status", "compensated", "--json").stdout)
    assert saga["saga_id"] in [row["id"] for row in listed]
    shown = system.saga("show", saga["saga_id"]).stdout
    assert "insufficient_funds" in shown
    assert "reserve_product UNDONE" in shown
    unknown = system.saga("show", "nope", check=False)
    assert (unknown.returncode, unknown.stderr) == (1, "saga: no saga nope\n")


@pytest.mark.parametrize(
    "how", [[], ["--rate", "100"], ["--http"], ["--http", "--rate", "200", "--open-loop"]]
)
def test_bench_measures_and_checks(system: Any, how: list[str]) -> None:
    result = json.loads(system.saga("bench", "--sagas", "20", "--json", *how).stdout)
    assert list(result) == [
        "sagas",
        "completed",
        "compensated",
        "seconds",
        "sagas_per_second",
        "p50_ms",
        "p95_ms",
        "p99_ms",
        "cpu_seconds_per_1000",
        "invariants_ok",
        "machine",
        "versions",
        "settings",
        "latency_from",
    ]
    assert (result["sagas"], result["completed"], result["invariants_ok"]) == (20, 20, True)
    assert result["settings"] == {
        "broker": "embedded",
        "database": "sqlite",
        "synchronous": "full",
        "fsync": "on",
    }
    intended = "--open-loop" in how
    assert result["latency_from"] == ("intended start" if intended else "row")


@pytest.fixture
def start_up(
    system: Any, tmp_path: Path, until: Callable[..., Any]
) -> Iterator[Callable[[Path], "subprocess.Popen[str]"]]:
    """Start one service without its adapter, in the foreground; end what is left of it."""
    stacks = tmp_path / "stacks"
    stacks.mkdir()
    text = (system.stacks / "user.toml").read_text()
    (stacks / "user.toml").write_text(re.sub(r"(?m)^(adapter|port) = .*\n", "", text))
    with ExitStack() as started:

        def start(data: Path) -> "subprocess.Popen[str]":
            process = started.enter_context(
                subprocess.Popen(
                    [Path(sys.executable).with_name("saga"), "up", "--data", data],
                    env={**os.environ, "SAGA_STACKS": str(stacks)},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            started.callback(process.kill)
            assert process.stdout is not None
            until(lambda: "refund_payment" in process.stdout.readline(), "the table is printed")
            return process

        yield start


def test_a_system_whose_data_directory_is_removed_stops_and_says_so(
    start_up: Callable[[Path], "subprocess.Popen[str]"], tmp_path: Path, until: Callable[..., Any]
) -> None:
    process = start_up(tmp_path / "data")
    pids = [one.pid for one in read_system(tmp_path / "data").processes]
    # Which is written meanwhile, and would make the folder anew.
    records = tmp_path / "data/artifacts/deploys"
    until(lambda: [*records.glob("*.json")], "what was started is recorded")

    def removed() -> bool:  # what is written there meanwhile would keep a folder from it
        shutil.rmtree(tmp_path / "data", ignore_errors=True)
        return not (tmp_path / "data").exists()

    until(removed, "all of it is gone")
    told = process.communicate(timeout=DEADLINE)[1]
    assert process.returncode == 1
    assert f"saga: {tmp_path}/data was removed under the running system" in told
    assert "Traceback" not in told
    assert not any(_runs(pid) for pid in pids if pid)
    assert not (tmp_path / "data").exists()


def test_ctrl_c_drains_and_stops(
    start_up: Callable[[Path], "subprocess.Popen[str]"], tmp_path: Path
) -> None:
    process = start_up(tmp_path / "data")
    process.send_signal(signal.SIGINT)
    assert process.wait(DEADLINE) == 0


def test_down_leaves_nothing_behind(system: Any, until: Callable[..., Any]) -> None:
    """The last one here, as that system is all of the others'."""
    pids = [row["pid"] for row in system.processes().values()]
    assert system.saga("down").stdout == "Stopped.\n"
    until(lambda: not any(psutil.pid_exists(pid) for pid in pids), "all processes are gone")
    assert not (system.data / "system.json").exists()


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
