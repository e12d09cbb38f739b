"""The units of `saga render systemd`, on a machine that systemd boots: kills, a reboot, a stop."""

import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import saga_functions_broker

from saga.runtime.settings import Settings
from support.waiting import DEADLINE

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

CREATE, RESERVE = "order.create_order", "product.reserve_product"
VARIABLES = (
    "PATH=/opt/saga/bin:/usr/bin:/bin",
    "HOME=/home/ada",
    "SAGA_STACKS=stacks",
    "XDG_RUNTIME_DIR=/run/user/1000",
)
PROJECT = """
set -e
mkdir -p shop/order stacks
cp $0/functions/order/*.py shop/order
sed -i s/saga.functions.order/shop.order/ shop/order/*.py
cp $0/stacks/*.toml stacks
sed -i s/saga.functions.order/shop.order/ stacks/order.toml
"""


class Machine:
    """A machine with a system of ada's in her folder: what is typed there, and what runs."""

    def __init__(self, container: Any) -> None:
        self.container = container

    def run(self, *command: str, user: str = "root", check: bool = True) -> str:
        """Run a command in ada's folder, and return what it says.

        Not by the engine, of whose older versions one in some hundred loses what a command says.
        """
        self.container.reload()
        number = {"root": "0", "ada": "1000"}[user]
        enter = ["nsenter", "--target", str(self.container.attrs["State"]["Pid"]), "--all"]
        enter += ["--setuid", number, "--setgid", number]
        enter += ["env", "--ignore-environment", "--chdir=/home/ada/shop", *VARIABLES]
        done = subprocess.run(
            [*enter, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DEADLINE,
        )
        assert done.returncode == 0 or not check, f"{command}: {done.stdout}"
        return done.stdout

    def saga(self, *arguments: str, user: str = "ada", check: bool = True) -> str:
        return self.run("saga", *arguments, user=user, check=check)

    def unit(self, name: str) -> str:
        return self.run("systemctl", "show", "-P", name, "saga").strip()

    def has_booted(self) -> bool:
        state = self.run("systemctl", "is-system-running", check=False).strip()
        assert state not in ("degraded", "maintenance"), self.run("systemctl", "--failed")
        return state == "running"

    def instances(self) -> dict[str, str]:
        """Return the versions of what is deployed, by instance; none until all is ready."""
        said = self.saga("ps", "--json", check=False)
        rows = json.loads(said) if said.startswith("[") else []
        if not rows or any(row["state"] != "ready" for row in rows):
            return {}
        return {row["name"]: row["version"] for row in rows if row["version"]}

    def an_order_completes(self) -> None:
        assert "Ada had 100.00 and has 60.02." in self.saga("demo")


def archive(folder: Path) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        tar.add(folder, folder.name)
    return written.getvalue()


def install(machine: Machine, image: Any) -> None:
    """Install the project of an image, and the broker that is installed here; make ada's folder."""
    stream, _ = image.get_archive("/opt/saga")
    machine.container.put_archive("/opt", b"".join(stream))
    machine.container.exec_run(["mkdir", "/home/ada/shop"], user="ada")
    find = 'import sysconfig; print(sysconfig.get_path("purelib"))'
    packages = machine.run("/opt/saga/bin/python", "-c", find).strip()
    broker = Path(saga_functions_broker.__file__).parent
    machine.container.put_archive(packages, archive(broker))
    machine.run("sh", "-c", PROJECT, f"{packages}/saga", user="ada")


@pytest.fixture(scope="module")
def machine(engine, until: Callable[..., Any]) -> Iterator[Machine]:
    """A machine that has booted, with a system whose unit is enabled and started."""
    groups = {"/sys/fs/cgroup": {"bind": "/sys/fs/cgroup", "mode": "rw"}}
    container = engine.containers.run(
        "saga-test/systemd",
        detach=True,
        # What systemd needs to be the first process of a container.
        cap_add=["SYS_ADMIN"],
        security_opt=["seccomp=unconfined", "apparmor=unconfined"],
        cgroupns="host",
        volumes=groups,
        tmpfs=dict.fromkeys(("/run", "/run/lock", "/tmp"), ""),
    )
    project = engine.containers.create(Settings.model_fields["saga_image"].default)
    found = Machine(container)
    try:
        install(found, project)
        until(found.has_booted, "the machine has booted")
        unit = "/etc/systemd/system/saga.service"
        found.saga("render", "systemd", "--run-as", "ada", "--output", unit, user="root")
        found.run("systemctl", "enable", "--now", "saga")
        until(found.instances, "all is ready")
        yield found
    finally:
        project.remove()
        sys.stdout.write(found.run("journalctl", "--unit", "saga")[-4000:])
        container.stop(timeout=60)  # in order: to kill all of it takes longer
        container.remove(v=True)


def test_systemd_finds_nothing_wrong_with_the_unit(machine: Machine) -> None:
    assert machine.run("systemd-analyze", "verify", "saga.service") == ""


def test_the_system_is_its_users(machine: Machine) -> None:
    machine.an_order_completes()
    owners = machine.run("find", ".", "!", "-user", "ada")
    assert owners == ""
    assert machine.run("stat", "-c", "%U", f"/proc/{machine.unit('MainPID')}").strip() == "ada"


def test_after_a_kill_systemd_brings_back_what_was_deployed(machine: Machine, until: Any) -> None:
    machine.run("sed", "-i", "s/^@function/# changed\\n@function/", "shop/order/create_order.py")
    machine.saga("deploy", CREATE)
    machine.saga("scale", f"{RESERVE}=2")
    before = machine.instances()
    machine.run("systemctl", "kill", "--kill-who=main", "--signal=KILL", "saga")
    until(lambda: machine.unit("NRestarts") == "1" and machine.instances(), "it is back")
    assert machine.instances() == before
    machine.an_order_completes()


def test_after_a_reboot_it_is_up_again_with_what_was_deployed(machine: Machine, until: Any) -> None:
    before = machine.instances()
    machine.container.restart(timeout=120)
    until(machine.has_booted, "the machine has booted")
    until(machine.instances, "all is ready")
    assert machine.instances() == before
    assert sum(name.startswith(RESERVE) for name in before) == 2
    machine.an_order_completes()


def test_a_stop_drains_and_leaves_no_process(machine: Machine) -> None:
    machine.run("systemctl", "stop", "saga")
    assert [machine.unit(name) for name in ("ActiveState", "Result")] == ["inactive", "success"]
    commands = [" ".join(process) for process in machine.container.top()["Processes"]]
    assert [command for command in commands if "/opt/saga" in command] == []
    assert "no system runs" in machine.saga("ps", check=False)


def test_a_unit_of_a_users_own_starts_at_boot_without_a_login(machine: Machine, until: Any) -> None:
    machine.run("systemctl", "disable", "saga")
    folder = "/home/ada/.config/systemd/user"
    machine.run("mkdir", "-p", folder, user="ada")
    machine.saga("render", "systemd", "--output", f"{folder}/saga.service")
    machine.run("loginctl", "enable-linger", "ada")
    hers = ("systemctl", "is-active", "user@1000")
    until(lambda: machine.run(*hers, check=False).strip() == "active", "what is ada's runs")
    machine.run("systemctl", "--user", "enable", "saga", user="ada")
    machine.container.restart(timeout=120)
    until(machine.has_booted, "the machine has booted")
    until(machine.instances, "all is ready")
    said = machine.run("systemctl", "--user", "is-active", "saga", user="ada")
    assert (said.strip(), machine.unit("ActiveState")) == ("active", "inactive")
    machine.an_order_completes()
