"""The unit that `saga render systemd` writes, as systemd reads it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from saga.runtime.deploy.systemd import Unit
from saga.runtime.errors import SagaError
from support.command import run_saga
from support.waiting import DEADLINE


def unit(folder: Path, user: str | None = None) -> Unit:
    command = [sys.executable, str(folder / "saga"), "up", "--data", str(folder / "$HOME")]
    return Unit(command, folder, folder / "stacks", folder / "saga.env", 45.0, user)


ODD = 'blank umläut 100% "quoted" back\\slash'


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze")
@pytest.mark.parametrize("user", [None, "root"])
def test_systemd_takes_the_unit(tmp_path: Path, user: str | None) -> None:
    folder = tmp_path / ODD
    folder.mkdir()
    file = tmp_path / "saga.service"
    file.write_text(unit(folder, user).text())
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", file],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert [line for line in done.stderr.splitlines() if "saga.service" in line] == []
    assert done.returncode == 0, done.stderr


def test_paths_are_written_so_that_systemd_reads_them_as_they_are() -> None:
    lines = unit(Path("/a b/ü%$")).text().splitlines()
    assert "WorkingDirectory=/a b/ü%%$" in lines
    assert 'Environment="SAGA_STACKS=/a b/ü%%$/stacks"' in lines
    assert "EnvironmentFile=-/a b/ü%%$/saga.env" in lines
    [command] = [line for line in lines if line.startswith("ExecStart=")]
    assert command.endswith('"/a b/ü%%$$/saga" "up" "--data" "/a b/ü%%$$/$$HOME"')


def test_a_line_break_in_a_path_is_refused() -> None:
    with pytest.raises(SagaError, match="can't hold its line break"):
        unit(Path("/a\nExecStart=b")).text()


@pytest.mark.parametrize("user", ["a b", "", "-a", "a:b", "ädä", "a\n", "1a", "x" * 40])
def test_a_user_whom_no_system_can_have_is_refused(user: str) -> None:
    with pytest.raises(SagaError, match="is no user's name: take one of `getent passwd`"):
        unit(Path("/a"), user).text()


@pytest.mark.parametrize("user", ["ada", "_apt", "svc.order-1", "host$", "1000"])
def test_a_user_is_named_or_numbered(user: str) -> None:
    assert f"User={user}\n" in unit(Path("/a"), user).text()


def test_a_broker_that_is_none_is_refused_before_the_first_boot(tmp_path: Path) -> None:
    done = run_saga(["render", "systemd", "--broker", "nonsense"], os.environ, tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "saga: --broker: neither embedded nor kafka, and 'nonsense' is no address of a broker: "
        "HOST:PORT, or several with commas\n"
    )


def test_a_users_unit_and_a_systems() -> None:
    own, systems = unit(Path("/a")).text(), unit(Path("/a"), "ada").text()
    assert "WantedBy=default.target" in own
    assert "User=" not in own
    assert {"User=ada", "WantedBy=multi-user.target"} <= {*systems.splitlines()}


def test_the_command_writes_the_unit_and_no_secret(tmp_path: Path) -> None:
    secrets = {"SAGA_DATABASE_URL": "postgresql://u:hidden@db/x", "KAFKA_SASL_PASSWORD": "hidden"}
    arguments = ["render", "systemd", "--data", "my data", "--broker", "kafka:9092"]
    done = run_saga(arguments, {**os.environ, **secrets}, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f'"up" "--data" "{tmp_path}/my data" "--broker" "kafka:9092"\n' in done.stdout
    assert "TimeoutStopSec=45\n" in done.stdout
    assert f"EnvironmentFile=-{tmp_path}/saga.env\n" in done.stdout
    assert "hidden" not in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("user", [None, "ada"])
def test_what_a_function_may_do_by_itself_it_may_do_in_a_unit(user: str | None) -> None:
    names = {line.partition("=")[0] for line in unit(Path("/a"), user).text().splitlines()}
    closing = {"ProtectSystem", "ProtectHome", "PrivateTmp", "RestrictSUIDSGID", "PrivateDevices"}
    closing |= {"MemoryDenyWriteExecute", "RestrictNamespaces", "RestrictAddressFamilies"}
    assert names & closing == set()


def test_a_function_that_is_ended_for_its_memory_does_not_end_the_system() -> None:
    assert "OOMPolicy=continue" in unit(Path("/a")).text().splitlines()
