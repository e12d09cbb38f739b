"""What is deployed: instances, versions, and how it all stands."""

from pathlib import Path

import pytest

from saga.runtime.console.deployed import Deployed, Version, deployed, read_deployed, reads
from saga.runtime.settings import Settings
from saga.runtime.system.process import ProcessInfo, ProcessState
from support.console import process, supervised
from support.told import order_cake

DECLARED = {"b.bake": "function", "b.order_cake": "saga"}


def instance(
    state: ProcessState = "ready", version: str | None = "1" * 64, number: int = 1, **more: object
) -> ProcessInfo:
    told = {"topic": "bakery.bake", **more}
    return process("b.bake", number, state=state, version=version, **told)


def bake(*instances: ProcessInfo) -> Deployed:
    return deployed(DECLARED, instances)["b.bake"]


@pytest.mark.parametrize(
    ("states", "standing"),
    [
        (["ready"], "ready"),
        (["ready", "starting"], "starting"),
        (["ready", "stopping"], "ready"),
        (["restarting", "starting"], "restarting"),
        (["ready", "unhealthy", "restarting"], "unhealthy"),
        (["stopping"], "draining"),
        (["stopped"], "stopped"),
        ([], "not running"),
    ],
)
def test_as_a_whole_it_stands_as_its_worst_instance(states, standing):
    assert bake(*map(instance, states)).standing == standing


def test_where_nobody_knows_what_runs_nothing_is_told():
    one = deployed(DECLARED, None)["b.bake"]
    assert (one.standing, one.restarts, one.versions, one.topics) == ("unknown", None, [], ())
    assert (one.name, one.entry, one.problem) == ("b.bake", "bake", "")
    assert not one.is_timer


def test_versions_that_drain_come_last():
    old, new = instance("stopping", "1" * 64), instance("ready", "2" * 64, 2)
    again = instance("ready", "1" * 64, 3)
    found = bake(old, new, again)
    assert found.versions == [
        Version("1" * 64, False, (again,)),
        Version("2" * 64, False, (new,)),
        Version("1" * 64, True, (old,)),
    ]
    assert (found.ready, len(found.working)) == (2, 2)


def test_restarts_and_topics_are_those_of_all_instances():
    found = bake(instance(restarts=2), instance(number=2, restarts=1, topic="bakery.bake b.more"))
    assert found.restarts == 3
    assert found.topics == ("b.more", "bakery.bake")


def test_what_cant_be_started_says_why():
    assert bake(instance(), instance("unhealthy", problem="no secret")).problem == "no secret"
    assert bake(instance()).problem == ""


def test_version_that_is_not_told_is_empty():
    assert [one.version for one in bake(instance(version=None)).versions] == [""]


def test_what_works_and_reads_no_topic_is_a_timer():
    assert bake(instance(topic=None)).is_timer
    assert not bake(instance("starting", topic=None)).is_timer
    assert not bake(instance()).is_timer


def test_what_runs_and_is_not_declared_any_more_is_told_too_and_adapters_are_not():
    adapter = ProcessInfo(name="b", kind="adapter", deployed="b")
    gone = ProcessInfo(name="b.gone", kind="function", deployed="b.gone")
    assert [*deployed(DECLARED, [adapter, gone])] == ["b.bake", "b.gone", "b.order_cake"]


def test_functions_of_a_saga_and_its_host_are_known_by_their_names():
    assert reads(order_cake) == {
        "bake": ("bakery.bake",),
        "eat": ("bakery.eat",),
        "sell": ("bakery.sell",),
        "buy_back": ("bakery.buy_back",),
        "ship": ("bakery.ship",),
        "order_cake": ("bakery.events",),
    }


def test_running_system_is_read_with_what_its_stacks_declare(tmp_path: Path) -> None:
    settings = Settings(saga_data=tmp_path / "data")
    with supervised(tmp_path / "data") as system:
        system.declare("b", functions="eat")
        system.publish(instance())
        running, found = read_deployed(settings)
        assert running is not None
        standing = {name: one.standing for name, one in found.items()}
        assert standing == {"b.bake": "ready", "b.eat": "not running"}
        (system.stacks / "b.toml").write_text("service = ")
        assert [*read_deployed(settings)[1]] == ["b.bake"]


def test_without_a_system_what_the_stacks_declare_is_unknown(tmp_path: Path) -> None:
    system, found = read_deployed(Settings(saga_data=tmp_path))
    assert system is None
    assert found["order.create_order"].standing == "unknown"
    assert found["orchestrator.place_order"].kind == "saga"
