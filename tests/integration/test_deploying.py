"""Versions of functions come and go, one by one, in a system that runs and goes on running."""

import os
import re
import shutil
import signal
import subprocess
import sys
from functools import partial

import pytest

from support.command import SAGA
from support.project import BAD, SEND, WRAP, Project
from support.waiting import DEADLINE, given_up


@pytest.mark.parametrize("bad", BAD)
def test_bad_version_is_taken_down_and_the_old_one_stays(kept: Project, bad: str) -> None:
    code, seconds, reason = BAD[bad]
    before, past = kept.pids(), kept.deployments(WRAP)
    kept.edit("gift/wrap_gift.py", "@function", f"{code}\n@function")
    deploy = partial(kept.refused, "deploy", WRAP, "--timeout")
    told, after = given_up(deploy, reason, seconds)
    # What runs has either name, after an even or an odd number of deploys.
    assert re.match(rf"saga: {WRAP}(-\d+)? (has ended|is not ready after {after} s)", told)
    assert reason in told
    assert kept.pids() == before
    assert {row["state"] for row in kept.system.processes().values()} == {"ready"}
    assert kept.deployments(WRAP) == past


def test_code_that_is_no_python_is_refused_before_anything_starts(kept: Project) -> None:
    before = kept.pids()
    kept.edit("gift/wrap_gift.py", "@function", "@function(\n")
    told = kept.refused("deploy", WRAP)
    assert "wrap_gift.py: " in told
    assert told.count("\n") == 1
    assert kept.pids() == before


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["deploy", "gift.nothing"], f"gift.nothing: not one of {WRAP}, {SEND}"),
        (["deployments", "gift.nothing"], f"gift.nothing: not one of {SEND}, {WRAP}"),
        (["rollback", "gift.nothing"], "no deployment of gift.nothing is known"),
        (["rollback", WRAP, "ffffffff"], "ffffffff: not one version of this function"),
        (
            ["scale", "gift.nothing=2"],
            f"gift.nothing does not run; `saga deploy` starts it. There are: {SEND}, {WRAP}",
        ),
        (["scale", f"{WRAP}=101"], f"{WRAP} can have 100 instances at most"),
        (["scale", WRAP], "not of the form NAME=N"),
        (["scale", f"{WRAP}=-1"], "not of the form NAME=N"),
        (["remove", "gift.nothing"], "gift.nothing does not run"),
        (["remove", "broker"], "broker does not run"),
        (["invoke", "gift.nothing", "--body", "{}"], "gift.nothing does not run"),
        (["logs", "gift.nothing"], "no log of gift.nothing; there are: "),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(
    gifts: Project, arguments: list[str], reason: str
) -> None:
    before = gifts.pids()
    told = gifts.refused(*arguments)
    assert reason in told
    assert told.count("\n") == 1
    assert gifts.pids() == before


def test_version_that_runs_is_not_deployed_again(kept: Project) -> None:
    kept.ok("deploy")
    before, past = kept.pids(), kept.deployments(WRAP)
    assert kept.ok("deploy") == "Nothing to do: these versions run already.\n"
    assert (kept.pids(), kept.deployments(WRAP)) == (before, past)


def test_dry_run_tells_what_a_deploy_would_do_and_does_nothing(kept: Project) -> None:
    kept.paper("dry")
    before, past = kept.pids(), kept.deployments(WRAP)
    files = lambda: {*kept.system.data.rglob("*.zip"), *kept.system.data.rglob("stack.toml")}  # noqa: E731
    there, old = files(), kept.instances(WRAP)[0]
    told = kept.ok("deploy", WRAP, "--dry-run")
    [version] = re.findall(rf"^{WRAP} (\w{{12}}): starts {WRAP}(?:-\d)?, ends ", told)
    assert told.endswith(f", ends {old['name']} of {old['version'][:12]}\n")
    assert (kept.pids(), kept.deployments(WRAP), files()) == (before, past, there)
    kept.ok("deploy", WRAP)
    assert kept.version(WRAP).startswith(version)
    assert kept.ok("deploy", WRAP, "--dry-run").startswith("Nothing to do")


def test_dry_run_is_refused_as_the_deploy_would_be(kept: Project) -> None:
    assert "not one of" in kept.refused("deploy", "gift.nothing", "--dry-run")
    kept.edit("gift/wrap_gift.py", "@function", "@function(\n")
    assert "wrap_gift.py: " in kept.refused("deploy", WRAP, "--dry-run")


def test_deployment_tells_its_commit(kept: Project) -> None:
    git = ["git", "-c", "user.name=Ann", "-c", "user.email=ann@example.org", "-C", str(kept.root)]
    kept.paper("committed")
    for words in ("init -q", "add gift stacks", "commit -qm Begin"):
        subprocess.run([*git, *words.split()], check=True)
    kept.ok("deploy", WRAP)
    kept.paper("dirty")
    kept.ok("deploy", WRAP)
    kept.ok("rollback", WRAP)
    head = subprocess.check_output([*git, "rev-parse", "HEAD"], text=True).strip()
    shutil.rmtree(kept.root / ".git")
    found = [(entry["commit"], entry["dirty"]) for entry in kept.deployments(WRAP)[:3]]
    assert found == [(head, False), (head, True), (head, False)]
    table = kept.ok("deployments", WRAP).splitlines()[1:4]
    assert [line.split()[-1] for line in table] == [head[:12], f"{head[:12]}+", head[:12]]


def test_damaged_record_is_told_and_keeps_nobody_from_anything(kept: Project) -> None:
    records = kept.system.data / "artifacts/deploys"
    (records / "0-half.json").write_text('[{"name": "gift')
    (records / "1-folder.json").mkdir()
    kept.paper("undamaged")
    for words in (["deploy", WRAP], ["rollback", WRAP], ["scale", f"{WRAP}=1"]):
        kept.ok(*words)
    told = kept.run("deployments", WRAP, apart=True).stderr
    (records / "0-half.json").unlink()
    (records / "1-folder.json").rmdir()
    why = "in the artifact store is no record that can be read: passed over"
    assert told == f"deploys/0-half.json {why}\ndeploys/1-folder.json {why}\n"


def test_function_named_twice_is_deployed_once(kept: Project) -> None:
    kept.paper("checked")
    kept.ok("deploy", WRAP, WRAP)
    assert len(kept.instances(WRAP)) == 1
    [newest, *_] = kept.deployments(WRAP)
    assert newest["replaced"] != newest["version"]


@pytest.mark.proof
def test_rollback_restores_what_the_function_did(kept: Project) -> None:
    first = kept.version(WRAP)
    paper = kept.invoke()["paper"]
    versions = [first]
    for colour in ("green", "blue"):
        kept.paper(colour)
        kept.ok("deploy", WRAP)
        answer = kept.invoke()
        assert answer["paper"] == colour
        assert set(answer["secrets"]) == {"WRAP_PIN"}, "later versions are given their secrets, too"
        versions.append(kept.version(WRAP))
    told = kept.ok("rollback", WRAP)
    assert f"{WRAP} runs version {versions[1][:12]}" in told
    assert kept.invoke()["paper"] == "green"
    kept.ok("rollback", WRAP, first[:8])
    assert (kept.version(WRAP), kept.invoke()["paper"]) == (first, paper)
    assert "runs " in kept.refused("rollback", WRAP, first[:8])
    past = kept.deployments(WRAP)[:4]
    found = [(entry["version"], entry["replaced"]) for entry in past]
    assert found == [
        (first, versions[1]),
        (versions[1], versions[2]),
        (versions[2], versions[1]),
        (versions[1], first),
    ]
    assert all("@" in entry["by"] for entry in past)
    table = kept.ok("deployments", WRAP).splitlines()
    assert table[0].split() == ["VERSION", "DEPLOYED", "BY", "REPLACED", "COMMIT", "IMAGE"]
    assert [line.split()[0] for line in table[1:5]] == [entry["version"][:12] for entry in past]


def test_rollback_to_an_artifact_that_is_gone_leaves_what_runs(kept: Project) -> None:
    old = kept.version(WRAP)
    kept.paper("gone")
    kept.ok("deploy", WRAP)
    file = kept.system.data / "artifacts" / "artifacts" / f"{old}.zip"
    data, before = file.read_bytes(), kept.pids()
    file.unlink()
    missing = kept.refused("rollback", WRAP)
    file.write_bytes(data[:-1])
    corrupt = kept.refused("rollback", WRAP)
    file.write_bytes(data)
    assert missing == f"saga: artifact {old[:12]} is not in the store\n"
    assert corrupt == f"saga: artifact {old[:12]} is damaged: its hash is another\n"
    assert kept.pids() == before
    assert kept.invoke()["paper"] == "gone"


def test_new_function_is_deployed_into_a_system_that_did_not_have_it(kept: Project) -> None:
    before = kept.pids()
    kept.ok("new", "function", "gift.post_gift")
    kept.ok("deploy", "gift.post_gift")
    assert kept.invoke("gift.post_gift", saga_id="7") == {"saga_id": "7"}
    kept.ok("remove", "gift.post_gift")
    assert kept.pids() == before


def test_new_service_is_deployed_into_a_system_that_did_not_have_it(kept: Project) -> None:
    kept.ok("new", "function", "shop.sell_card")
    kept.ok("deploy", "shop.sell_card")
    assert kept.invoke("shop.sell_card", saga_id="7") == {"saga_id": "7"}
    kept.ok("remove", "shop.sell_card")


def test_version_whose_secret_is_missing_is_refused_and_the_old_one_stays(kept: Project) -> None:
    before = kept.pids()
    kept.edit("stacks/gift.toml", '"WRAP_PIN"', '"WRAP_PIN", "NO_SUCH_PIN"')
    assert "no secret NO_SUCH_PIN" in kept.refused("deploy", WRAP)
    assert kept.pids() == before


def test_of_two_deploys_at_once_one_is_refused_and_the_other_one_is_done(kept: Project) -> None:
    code, *_ = BAD["never gets ready"]
    kept.edit("gift/send_gift.py", "@function", f"{code}\n@function")
    before = kept.pids()
    waits = subprocess.Popen(
        [SAGA, "deploy", SEND, "--timeout", f"{DEADLINE:g}"],
        env={
            **os.environ,
            "SAGA_STACKS": str(kept.system.stacks),
            "SAGA_DATA": str(kept.system.data),
            **kept.system.environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with waits:
        assert waits.stdout is not None
        assert "starts" in waits.stdout.readline()
        for command in (["deploy", WRAP], ["scale", f"{WRAP}=2"], ["remove", WRAP]):
            told = kept.refused(*command)
            assert told == (
                f"saga: another deploy is going on from {kept.system.data}: wait for its end\n"
            )
        # Not as Ctrl-C: what a shell runs in the background, with all below it, never hears that.
        waits.terminate()
        assert waits.wait(DEADLINE) == 128 + signal.SIGTERM
    assert kept.pids() == before


IN_A_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.parametrize("how", ["deploy", "scale"])
def test_what_loses_its_terminal_is_taken_back(kept: Project, how: str) -> None:
    code, *_ = BAD["never gets ready"]
    words = {"deploy": ["deploy", SEND], "scale": ["scale", f"{SEND}=2"]}[how]
    kept.edit("gift/send_gift.py", "@function", f"{code}\n@function")
    if how == "scale":  # what a deploy would refuse: it is there already
        unpacked = kept.system.data / "code" / kept.version(SEND) / "gift/send_gift.py"
        whole = unpacked.read_text()
        unpacked.write_text((kept.root / "gift/send_gift.py").read_text())
    before, past = kept.pids(), kept.deployments(SEND)
    ours, theirs = os.openpty()
    lost = subprocess.Popen(
        [sys.executable, "-c", IN_A_TERMINAL, SAGA, *words, "--timeout", f"{DEADLINE:g}"],
        env={
            **os.environ,
            "SAGA_STACKS": str(kept.system.stacks),
            "SAGA_DATA": str(kept.system.data),
            **kept.system.environment,
        },
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    told = b""
    while b"starts" not in told:
        told += os.read(ours, 1024)
    os.close(ours)
    ended = lost.wait(DEADLINE)
    if how == "scale":
        unpacked.write_text(whole)
    assert ended == 128 + signal.SIGHUP
    assert (kept.pids(), kept.deployments(SEND)) == (before, past)
