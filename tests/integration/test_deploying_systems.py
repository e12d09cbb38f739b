"""What is deployed, and the system around it that starts, stops and dies."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
from moto.server import ThreadedMotoServer

from saga.runtime.system.state import is_locked
from support.project import BAD, WRAP, Project, lay_out, make_gifts
from support.system import RunningSystem

pytestmark = pytest.mark.proof

Start = Callable[..., RunningSystem]
Until = Callable[..., Any]


def start_gifts(start_system: Start) -> Project:
    projects: list[Project] = []

    def prepare(system: RunningSystem) -> None:
        projects.append(lay_out(system))
        make_gifts(projects[0])

    start_system(prepare=prepare)
    return projects[0]


def test_missing_secret_refuses_the_start_in_one_line(
    make_system: Callable[[], RunningSystem], tmp_path: Path
) -> None:
    project = lay_out(make_system())
    make_gifts(project)
    env = {"SEND_PIN": None, "SAGA_SECRETS": str(tmp_path)}
    told = project.refused("up", "--detach", env=env)
    assert told.startswith("saga: no secret SEND_PIN: set the environment variable, or put a file")
    assert told.count("\n") == 1


@pytest.fixture(scope="module")
def same(start_system: Start) -> Project:
    """One system for the tests that start and stop it."""
    return start_gifts(start_system)


@pytest.fixture
def running(same: Project) -> Project:
    """That one, which runs, whatever a test before has done to it."""
    if not is_locked(same.system.data):
        same.ok("up", "--detach")
    return same


def test_system_started_again_runs_the_code_as_it_is_now(running: Project) -> None:
    running.paper("green")
    running.ok("deploy", WRAP)
    running.ok("scale", f"{WRAP}=2")
    running.ok("down")
    assert not (running.system.data / "wanted.json").exists()
    running.ok("up", "--detach")
    [row] = running.instances(WRAP)
    assert (row["name"], running.invoke()["paper"]) == (WRAP, "green")


def test_supervisor_that_was_killed_leaves_nothing_in_the_way_of_the_next(running: Project) -> None:
    running.paper("blue")
    running.ok("deploy", WRAP)
    before = running.system.processes()
    psutil.Process(before["supervisor"]["pid"]).kill()
    told = running.ok("up", "--detach")
    after = running.system.processes()
    assert {row["state"] for row in after.values()} == {"ready"}
    assert all(name in told for name in after)
    assert after["supervisor"]["pid"] != before["supervisor"]["pid"]
    assert not {row["pid"] for row in after.values()} & {row["pid"] for row in before.values()}
    assert running.invoke()["paper"] == "blue"


def test_stop_during_a_deploy_is_one_line_and_leaves_nothing(
    running: Project, until: Until
) -> None:
    code, *_ = BAD["never gets ready"]
    running.edit("gift/wrap_gift.py", "@function", f"{code}\n@function")
    pids = running.pids()
    with ThreadPoolExecutor() as threads:
        told = threads.submit(running.refused, "deploy", WRAP, apart=True)
        until(lambda: len(running.instances(WRAP)) == 2, "the new version starts")
        running.ok("down")
        assert "no system runs on" in told.result()
    running.edit("gift/wrap_gift.py", f"{code}\n@function", "@function")
    until(lambda: not any(psutil.pid_exists(pid) for pid in pids.values()), "all are gone")
    left = {path.name for path in running.system.data.glob("*.json")}
    assert left == set()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A bucket of an S3 on this machine."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    client = boto3.session.Session().client("s3")
    client.create_bucket(Bucket="shelf")
    yield client
    client.close()
    server.stop()


def test_artifacts_may_lie_on_s3(
    start_system: Start,
    bucket: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SAGA_ARTIFACTS", "s3://shelf/of/mine")
    project = start_gifts(start_system)
    first = project.version(WRAP)
    project.paper("green")
    project.ok("deploy", WRAP)
    second = project.version(WRAP)
    project.ok("rollback", WRAP)
    assert (project.version(WRAP), project.invoke()["paper"]) == (first, "red")
    keys = [entry["Key"] for entry in bucket.list_objects_v2(Bucket="shelf")["Contents"]]
    zips = {f"of/mine/artifacts/{version}.zip" for version in (first, second)}
    assert {key for key in keys if key.endswith(".zip")} == zips
    assert len([key for key in keys if key.startswith("of/mine/deploys/")]) == 3
    bucket.delete_object(Bucket="shelf", Key=f"of/mine/artifacts/{second}.zip")
    before = project.pids()
    assert "is not in the store" in project.refused("rollback", WRAP)
    monkeypatch.setenv("SAGA_ARTIFACTS", "s3://nobodys")
    assert "the artifact store s3://nobodys: " in project.refused("deploy", WRAP, "--force")
    assert project.pids() == before
    assert not (project.system.data / "artifacts").exists()
    project.ok("down")


def test_version_goes_from_staging_to_production_as_it_is(
    start_system: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SAGA_ARTIFACTS", str(tmp_path / "shelf"))
    staging = start_gifts(start_system)
    monkeypatch.setenv("SAGA_SYSTEM", "production")
    production = start_gifts(start_system)
    monkeypatch.delenv("SAGA_SYSTEM")
    staging.paper("green")
    staging.ok("deploy", WRAP)
    version = staging.version(WRAP)
    staging.ok("down")
    env = {"SAGA_SYSTEM": "production", "SAGA_STACKS": str(tmp_path / "none")}
    told = production.ok("deploy", f"{WRAP}@{version[:8]}", env=env)
    assert told.endswith(f"{WRAP} runs version {version[:12]}\n")
    assert (production.version(WRAP), production.invoke()["paper"]) == (version, "green")
    production.ok("rollback", WRAP, env=env)
    assert production.invoke()["paper"] == "red"
    told = production.refused("deploy", f"{WRAP}@ffff", env=env)
    assert "no system that shares this artifact store has run it: set SAGA_ARTIFACTS" in told
    production.ok("down")
