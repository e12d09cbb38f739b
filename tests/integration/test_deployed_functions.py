"""Functions that run are scaled, invoked, logged, killed, given their secrets, and brought back."""

import hashlib
import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from saga.runtime.kafka.application import Admin
from saga.runtime.system.state import is_locked
from support.project import PINS, SEND, WRAP, Project
from support.waiting import wait_until

Until = Callable[..., Any]


def test_function_is_scaled_up_and_down(gifts: Project) -> None:
    others = gifts.pids(WRAP)
    told = gifts.ok("scale", f"{WRAP}=3")
    rows = gifts.instances(WRAP)
    assert [row["state"] for row in rows] == ["ready"] * 3
    assert all(row["name"] in told for row in rows)
    assert len({row["version"] for row in rows}) == 1
    topics = Admin(gifts.system.settings().on_broker(gifts.system.broker())).topics()
    assert len(topics["gift.wrap"].partitions) == 3, "one for each"
    gifts.ok("scale", f"{WRAP}=1")
    [left] = gifts.instances(WRAP)
    assert left in rows
    assert gifts.pids(WRAP) == others
    assert gifts.invoke()["paper"]


def test_invoke_tells_the_answer(gifts: Project, tmp_path: Path) -> None:
    answer = json.loads(gifts.ok("invoke", SEND, "--body", '{"name": "Ada"}'))
    assert answer == {"type": "GiftSent", "outcome": "done", "data": {"name": "Ada"}}
    (tmp_path / "command.json").write_text('{"name": "Åsa"}')
    for source, text in ((f"@{tmp_path / 'command.json'}", None), ("-", '{"name": "Åsa"}')):
        told = json.loads(gifts.ok("invoke", SEND, "--body", source, stdin=text))
        assert told["data"] == {"name": "Åsa"}


def test_invoke_ends_with_2_where_the_answer_is_a_no(gifts: Project) -> None:
    done = gifts.run("invoke", WRAP, "--body", '{"name": "nobody"}')
    assert done.returncode == 2
    answer = json.loads(done.stdout)
    assert (answer["outcome"], answer["type"]) == ("rejected", "WrapGift.Rejected")
    assert "nobody gets no gift" in done.stdout


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("{}", "--body is no WrapGift: name: Field required"),
        ('{"name": 1}', "--body is no WrapGift: name: Input should be a valid string"),
        ("{", "--body is no WrapGift: JSON: Invalid JSON"),
        ("@/no/such/file", "--body @/no/such/file: "),
    ],
)
def test_invoke_with_wrong_data_is_one_line(gifts: Project, data: str, reason: str) -> None:
    told = gifts.refused("invoke", WRAP, "--body", data)
    assert told.startswith(f"saga: {reason}")
    assert told.count("\n") == 1


def test_invoke_finds_the_system_by_an_option(gifts: Project) -> None:
    arguments = ["invoke", SEND, "-b", '{"name": "Bob"}', "--data", str(gifts.system.data)]
    told = gifts.ok(*arguments, env={"SAGA_DATA": "/nowhere"})
    assert json.loads(told)["data"] == {"name": "Bob"}


def test_scaled_function_keeps_its_number_when_it_is_deployed_and_all_its_logs(
    kept: Project,
) -> None:
    kept.ok("scale", f"{WRAP}=2")
    kept.paper("striped")
    kept.ok("deploy", WRAP)
    names = {row["name"] for row in kept.instances(WRAP)}
    assert len(names) == 2
    assert kept.invoke()["paper"] == "striped"
    kept.ok("scale", f"{WRAP}=1")
    lines = kept.ok("logs", WRAP).splitlines()
    started = {line.partition(" | ")[0] for line in lines if f"{WRAP} starts" in line}
    assert len(started) >= 3
    assert all(re.fullmatch(rf"{WRAP}(-\d+)?", name) for name in started)
    assert names <= started
    one = kept.ok("logs", f"{WRAP}-2").splitlines()
    assert one
    assert not [line for line in one if " | " in line]


def test_function_is_given_its_own_secrets_and_nobody_elses(gifts: Project) -> None:
    digest = hashlib.sha256(PINS["WRAP_PIN"].encode()).hexdigest()
    assert gifts.invoke()["secrets"] == {"WRAP_PIN": digest}


def test_no_secret_can_be_found_in_what_a_system_shows_or_keeps(gifts: Project) -> None:
    shown = [
        gifts.ok("ps", "--json"),
        gifts.ok("ps"),
        gifts.ok("logs"),
        gifts.ok("deployments", WRAP),
    ]
    files = [path for path in gifts.system.data.rglob("*") if path.is_file()]
    names = {path.name for path in files}
    assert {"system.json", "wanted.json", f"{WRAP}.log", "supervisor.log", "gift.db"} <= names
    assert [path for path in files if path.suffix == ".zip"]
    kept = [path.read_bytes() for path in files]
    for value in PINS.values():
        assert not [text for text in shown if value in text]
        assert not [data for data in kept if value.encode() in data]


def test_process_that_is_killed_comes_back_in_its_version(kept: Project, until: Until) -> None:
    [before], paper = kept.instances(WRAP), kept.invoke()["paper"]
    kept.paper("undeployed")
    psutil.Process(before["pid"]).kill()
    back = lambda: [  # noqa: E731
        row
        for row in kept.instances(WRAP)
        if row["restarts"] == before["restarts"] + 1 and row["state"] == "ready"
    ]
    [after] = until(back, "the process is back")
    assert (after["name"], after["version"]) == (before["name"], before["version"])
    assert kept.invoke()["paper"] == paper


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
    kept: Project,
) -> None:
    """The last one here, as that system is all of the others'."""
    kept.paper("blue")
    kept.ok("deploy", WRAP)
    kept.ok("scale", f"{WRAP}=2")
    kept.ok("remove", SEND)
    kept.paper("gold")  # which nobody deploys
    before = runs(kept)
    assert len(before) == 2
    for number in (signal.SIGKILL, signal.SIGTERM):
        end(kept, number)
        told = kept.ok("up", "--detach", apart=True)
        assert told.count("what ran is brought back (instances: 2, versions: 1)") == 1
        assert runs(kept) == before
        assert kept.invoke()["paper"] == "blue"
    log = (kept.system.data / "logs" / "supervisor.log").read_text()
    assert log.count("what ran is brought back") == 2, "a start truncates no log"
    kept.ok("down")
    assert "brought back" not in kept.ok("up", "--detach", apart=True)
    assert [*runs(kept)] == [WRAP, SEND]
    assert kept.invoke()["paper"] == "gold"
    kept.ok("remove", SEND)
    end(kept, signal.SIGKILL)
    assert "brought back" not in kept.ok("up", "--detach", "--fresh", apart=True)
    assert [*runs(kept)] == [WRAP, SEND]
