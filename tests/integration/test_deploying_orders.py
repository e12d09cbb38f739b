"""Services of the order system are deployed while orders flow, and nothing is lost or doubled."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from support.project import Project, lay_out
from support.system import ROOT, RunningSystem

pytestmark = pytest.mark.proof

Start = Callable[..., RunningSystem]
Until = Callable[..., Any]

CREATE = "order.create_order"
SAGA_NAME = "orchestrator.place_order"


def copy_order_service(project: Project) -> None:
    """Copy the order service's functions and adapter, and let the stack file name the copies."""
    for path in (ROOT / "functions/order").glob("*.py"):
        copy_module(path, project.root / "changed/order" / path.name)
    copy_module(ROOT / "http/order.py", project.root / "changed/http.py")
    project.edit("stacks/order.toml", '"saga.functions.order"', '"changed.order"')
    project.edit("stacks/order.toml", '"saga.http.order"', '"changed.http"')


def copy_module(source: Path, copy: Path) -> None:
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_text(source.read_text().replace("saga.functions.order", "changed.order"))


@pytest.fixture(scope="module")
def orders(start_system: Start) -> Project:
    """The order system, with code of the order service that can be changed."""
    projects: list[Project] = []

    def prepare(system: RunningSystem) -> None:
        projects.append(lay_out(system))
        copy_order_service(projects[0])

    start_system(prepare=prepare)
    return projects[0]


def test_changed_function_is_deployed_under_load_and_nothing_is_lost_or_doubled(
    orders: Project, traffic: Any
) -> None:
    [before] = orders.instances(CREATE)
    others = orders.pids(CREATE)
    with traffic(orders.system) as load:
        load.flows()
        orders.edit("changed/order/create_order.py", "@function", "VERSION = 2\n\n\n@function")
        told = orders.ok("deploy", CREATE)
        load.flows()
        [after] = orders.instances(CREATE)
    assert load.violations() == []
    assert load.refused == []
    assert f"{CREATE} runs version {after['version'][:12]}" in told
    assert after["version"] != before["version"]
    assert (after["state"], after["restarts"]) == ("ready", 0)
    assert not psutil.pid_exists(before["pid"])
    assert orders.pids(CREATE) == others


def test_whole_service_is_deployed_under_load_with_its_adapter(
    orders: Project, traffic: Any
) -> None:
    others = orders.pids(
        "order", *(f"order.{name}_order" for name in ("create", "complete", "cancel"))
    )
    old = orders.version("order")
    with traffic(orders.system) as load:
        load.flows()
        orders.edit("changed/http.py", '"""The order service over HTTP."""', '"""Another."""')
        orders.ok("deploy")
        load.flows()
    assert load.violations() == []
    names = ("order", CREATE, "order.complete_order", "order.cancel_order")
    [version] = {orders.version(name) for name in names}
    assert version != old
    assert orders.system.http("GET", "order", "/orders").status_code == 200
    unchanged = orders.pids(*names)
    assert {name: pid for name, pid in others.items() if name in unchanged} == unchanged


def test_saga_is_deployed_scaled_and_logged_under_load_as_a_function_is(
    orders: Project, traffic: Any
) -> None:
    before = orders.pids()
    with traffic(orders.system) as load:
        load.flows()
        orders.ok("deploy", SAGA_NAME, "--force")
        load.flows()
        orders.ok("scale", f"{SAGA_NAME}=2")
        load.flows()
    assert load.violations() == []
    instances = orders.instances(SAGA_NAME)
    assert {(row["name"], row["kind"]) for row in instances} == {
        (SAGA_NAME, "saga"),
        (f"{SAGA_NAME}-2", "saga"),
    }
    assert before[SAGA_NAME] not in {row["pid"] for row in instances}
    assert f"{SAGA_NAME}-2 |" in orders.ok("logs", SAGA_NAME)
    orders.ok("scale", f"{SAGA_NAME}=1")
    assert "answers no commands" in orders.refused("invoke", SAGA_NAME, "--body", "{}")


def test_adapter_version_that_fails_leaves_the_old_one(orders: Project, until: Until) -> None:
    version = orders.version("order")
    adapter = orders.root / "changed/http.py"
    whole = adapter.read_text()
    adapter.write_text(whole + '\nraise OSError("no such door")\n')
    try:
        assert "no such door" in orders.refused("deploy", "order")
    finally:
        adapter.write_text(whole)

    def states() -> list[tuple[str, str]]:
        return [(row["version"], row["state"]) for row in orders.instances("order")]

    until(lambda: states() == [(version, "ready")], "the old version is there")
    assert orders.system.http("GET", "order", "/orders").status_code == 200


def test_messages_of_a_removed_function_wait_until_it_is_deployed_again(
    orders: Project, until: Until
) -> None:
    name, system = "order.complete_order", orders.system
    assert orders.ok("remove", name) == f"{name}: removed\n"
    assert orders.instances(name) == []
    waiting = system.order(system.make_user(), system.make_product(), wait=0)["saga_id"]
    reached = lambda: system.saga_of(waiting)["steps"][-1]["status"] == "RUNNING"  # noqa: E731
    until(reached, "the last step waits for its answer")
    orders.ok("deploy", name)
    assert system.ended(waiting)["status"] == "COMPLETED"
