"""What `saga up` brings back, by how the system before it has ended."""

import os
import signal
from collections.abc import Iterator

import psutil
import pytest

from saga.runtime.system.state import is_locked
from support.project import SEND, WRAP, Project, lay_out, make_gifts
from support.system import run_system
from support.waiting import wait_until


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A system in which a version was deployed and scaled, and a function was removed."""
    folder = tmp_path_factory.mktemp("recovery")
    with run_system(folder, prepare=lambda system: make_gifts(lay_out(system))) as system:
        yield Project(system, folder)


def runs(project: Project) -> dict[str, tuple[str, str]]:
    """Tell what runs, each in which version, and whether it does its work."""
    rows = project.system.processes().values()
    return {row["name"]: (row["version"], row["state"]) for row in rows if row["version"]}


def end(project: Project, number: signal.Signals) -> None:
    """End the supervisor, and wait until its children have followed it."""
    pids = {name: row["pid"] for name, row in project.system.processes().items()}
    # Their numbers may soon be those of others.
    ours = [process for process in psutil.process_iter() if process.pid in pids.values()]
    os.kill(pids["supervisor"], number)
    wait_until(lambda: not any(map(_runs, ours)), "all processes are gone")
    assert not is_locked(project.system.data)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_what_was_deployed_is_brought_back_unless_a_person_has_stopped_it(
    deployed: Project,
) -> None:
    deployed.paper("blue")
    deployed.ok("deploy", WRAP)
    deployed.ok("scale", f"{WRAP}=2")
    deployed.ok("remove", SEND)
    deployed.paper("gold")  # which nobody deploys
    before = runs(deployed)
    assert len(before) == 2
    for number in (signal.SIGKILL, signal.SIGTERM):
        end(deployed, number)
        told = deployed.ok("up", "--detach", apart=True)
        assert told.count("what ran is brought back (instances: 2, versions: 1)") == 1
        assert runs(deployed) == before
        assert deployed.invoke()["paper"] == "blue"
    log = (deployed.system.data / "logs" / "supervisor.log").read_text()
    assert log.count("what ran is brought back") == 2, "a start truncates no log"
    deployed.ok("down")
    assert "brought back" not in deployed.ok("up", "--detach", apart=True)
    assert [*runs(deployed)] == [WRAP, SEND]
    assert deployed.invoke()["paper"] == "gold"
    deployed.ok("remove", SEND)
    end(deployed, signal.SIGKILL)
    assert "brought back" not in deployed.ok("up", "--detach", "--fresh", apart=True)
    assert [*runs(deployed)] == [WRAP, SEND]
