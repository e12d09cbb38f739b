"""Kills and cleaners hit a system under load, part by part: it heals, or says what to do."""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import psutil
import pytest

from support.system import RunningSystem, run_system
from support.waiting import wait_until

pytestmark = pytest.mark.proof

BROKER, SAGA = "broker", "orchestrator.place_order"
CREATE, RESERVE, PAY = "order.create_order", "product.reserve_product", "user.process_payment"
Mishap = Callable[[RunningSystem], None]


def kill(system: RunningSystem, *names: str) -> None:
    """End processes with SIGKILL, and wait until each was started again, and all are ready."""
    before = system.processes()
    for name in names:
        os.kill(before[name]["pid"], signal.SIGKILL)

    def healed() -> bool:
        after = system.processes()
        again = all(after[name]["restarts"] > before[name]["restarts"] for name in names)
        return again and all(row["state"] == "ready" for row in after.values())

    wait_until(healed, f"{', '.join(names)} heal")
    pids = {name: row["pid"] for name, row in system.processes().items() if name not in names}
    assert pids == {name: row["pid"] for name, row in before.items() if name not in names}


def kill_fork_server(system: RunningSystem) -> None:
    psutil.Process(system.processes()[CREATE]["pid"]).parent().kill()
    kill(system, "product")


def remove(name: str, *then_killed: str) -> Mishap:
    """Remove a file or folder of the data directory, and kill what needs it to start."""

    def mishap(system: RunningSystem) -> None:
        gone = system.data / name
        shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
        kill(system, *then_killed)

    return mishap


def empty_the_broker(system: RunningSystem) -> None:
    # What is moved away under it, it does not find again.
    shutil.move(system.data / "broker", system.data.with_name("moved"))
    kill(system, BROKER)


def clean_temporary_files(system: RunningSystem) -> None:
    temporary = Path(system.environment["TMPDIR"])
    assert list(temporary.iterdir()), "the sockets are here, as the data directory's name is long"
    shutil.rmtree(temporary)
    kill(system, "order")


def freeze_the_supervisor(system: RunningSystem) -> None:
    supervisor = system.processes()["supervisor"]["pid"]
    os.kill(supervisor, signal.SIGSTOP)
    try:
        os.kill(system.processes()["user"]["pid"], signal.SIGKILL)
        assert "ready" in system.saga("ps").stdout
    finally:
        os.kill(supervisor, signal.SIGCONT)
    wait_until(lambda: system.processes()["user"]["restarts"], "what has ended runs again")


def forget_what_runs(system: RunningSystem) -> None:
    (system.data / "system.json").unlink()
    (system.data / "wanted.json").unlink()
    wait_until(lambda: (system.data / "system.json").exists(), "commands find the system")
    wait_until(lambda: (system.data / "wanted.json").exists(), "a deploy finds what runs")
    system.saga("scale", "user.refund_payment=2")
    system.saga("scale", "user.refund_payment=1")


def remove_code(system: RunningSystem) -> None:
    remove("code")(system)
    system.saga("invoke", "user.refund_payment", "--body", f'{{"order_id": "{uuid4()}"}}')
    ours = [name for name in sys.modules if name.startswith("saga.")]
    assert not [name for name in ours if str(system.data) in str(sys.modules[name].__file__)]
    remove("code", "order.complete_order", "user")(system)


# Who is hit, and how: the system heals by itself.
HEALS: dict[str, Mishap] = {
    "adapter, saga and function, killed": lambda system: kill(system, "orchestrator", SAGA, CREATE),
    "broker, killed": lambda system: kill(system, BROKER),
    "fork server, killed": kill_fork_server,
    "supervisor, frozen": freeze_the_supervisor,
    "logs, removed": remove("logs", RESERVE, BROKER),
    "health files, removed": remove("health", PAY),
    "code, removed": remove_code,
    "sockets, removed": remove("run", "user.refund_payment"),
    "state, removed": forget_what_runs,
    "topics, removed": empty_the_broker,
    "temporary files, removed": clean_temporary_files,
}


def remove_database(system: RunningSystem) -> None:
    aside = system.data.with_name("aside")
    aside.mkdir()
    for file in system.data.glob("order.db*"):
        file.rename(aside / file.name)


def put_database_back(system: RunningSystem) -> None:
    told = (system.data / "logs" / "supervisor.log").read_text()
    assert "Traceback" not in told
    assert told.endswith(
        f"saga: {system.data}/order.db was removed under the running system, which has stopped: "
        "put a copy back, or `saga up` makes a new one\n"
    )
    for file in system.data.with_name("aside").iterdir():
        file.rename(system.data / file.name)


def kill_the_supervisor(system: RunningSystem) -> None:
    os.kill(system.processes()["supervisor"]["pid"], signal.SIGKILL)


def remove_everything(system: RunningSystem) -> None:
    system.data.rename(system.data.with_name("gone"))


def put_everything_back(system: RunningSystem) -> None:
    # What was writing there may have made it anew.
    shutil.rmtree(system.data, ignore_errors=True)
    system.data.with_name("gone").rename(system.data)


# Who is hit, and how; and what a person does about it: `saga up` brings the rest.
ENDS: dict[str, tuple[Mishap, Mishap]] = {
    "supervisor, killed": (kill_the_supervisor, lambda _: None),
    "database, removed": (remove_database, put_database_back),
    "data directory, removed": (remove_everything, put_everything_back),
}


def start_again(system: RunningSystem, mishap: Mishap, cure: Mishap) -> None:
    """Let the system end by a mishap: commands say so in one line, and it is started again."""
    pids = [int(row["pid"]) for row in system.processes().values()]
    ours = [process for process in psutil.process_iter() if process.pid in pids]
    mishap(system)
    wait_until(lambda: not any(one.is_running() for one in ours), "all processes are gone")
    told = system.saga("ps", check=False)
    nothing_runs = f"saga: no system runs on {system.data}: start one with `saga up`\n"
    assert (told.returncode, told.stdout, told.stderr) == (1, "", nothing_runs)
    cure(system)
    assert "what ran is brought back" in system.saga("up", "--detach").stdout


def test_what_is_hit_under_load_heals_or_says_what_to_do(tmp_path: Path, traffic: Any) -> None:
    def prepare(system: RunningSystem) -> None:
        system.environment["TMPDIR"] = temporary

    folder = tmp_path / ("f" * 80)  # no socket has room in it
    with (
        TemporaryDirectory(dir="/tmp") as temporary,  # short: a socket has room in it
        run_system(folder, prepare=prepare) as system,
    ):
        with traffic(system) as load:
            for mishap in HEALS.values():
                mishap(system)
                load.flows(10)
            for mishap, cure in ENDS.values():
                start_again(system, mishap, cure)
                load.flows(10)
        assert load.violations() == []
        with traffic(system) as load:
            load.flows(10)
            # SIGTERM for the supervisor, as a service manager sends it, too.
            assert system.saga("down").stdout == "Stopped.\n"
