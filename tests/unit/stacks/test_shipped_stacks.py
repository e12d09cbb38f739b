"""The stacks that the project ships."""

import subprocess
import sys

import pytest

from saga.runtime.settings import Settings
from saga.runtime.system.stack import read_stacks, topics
from support.waiting import DEADLINE


@pytest.fixture(scope="module")
def stacks():
    return {stack.service: stack for stack in read_stacks(Settings().saga_stacks)}


def test_adapters_listen_on_the_contracts_ports(stacks):
    assert {name: stack.port for name, stack in stacks.items()} == {
        "user": 8000,
        "product": 8001,
        "order": 8002,
        "orchestrator": 8003,
    }


def test_nine_functions_are_named_and_load(stacks):
    names = {f.name for stack in stacks.values() for f, _ in stack.load()}
    assert names == {
        "order.create_order",
        "order.complete_order",
        "order.cancel_order",
        "product.reserve_product",
        "product.release_product",
        "user.process_payment",
        "user.refund_payment",
        "orchestrator.place_order",
    }


def test_functions_belong_to_their_stacks_service(stacks):
    for name, stack in stacks.items():
        assert {hosted.name.partition(".")[0] for hosted, _ in stack.load()} == {name}


def test_each_service_has_a_database_of_its_own(stacks):
    assert {stack.database for stack in stacks.values()} == set(stacks)


def test_topics_are_those_that_are_read_their_dead_letters_and_the_ends(stacks):
    names = {
        "order.create",
        "order.complete",
        "order.cancel",
        "product.reserve",
        "product.release",
        "user.pay",
        "user.refund",
        "order.events",
        "product.events",
        "user.events",
    }
    found = topics(list(stacks.values()))
    assert set(found) == names | {f"{name}.dlq" for name in names} | {"place-order.ended"}
    assert set(found.values()) == {1}
    scaled = topics(list(stacks.values()), 3)
    assert {topic: count for topic, count in scaled.items() if count > 1} == dict.fromkeys(names, 3)


def test_topic_has_as_many_partitions_as_its_widest_reader_wants(stacks):
    orchestrator = stacks["orchestrator"]
    entry = orchestrator.sagas["place_order"].model_copy(update={"partitions": 7})
    sagas = {**orchestrator.sagas, "place_order": entry}
    wide = orchestrator.model_copy(update={"sagas": sagas})
    assert topics([wide])["order.events"] == 7
    assert topics([wide, orchestrator])["order.events"] == 7
    assert topics([orchestrator, wide])["order.events"] == 7


def test_saga_and_stacks_agree(stacks):
    read = set(topics(list(stacks.values())))
    (saga,) = {f.saga.name: f.saga for f, _ in stacks["orchestrator"].load()}.values()
    commands = [c for step in saga.steps for c in (step.command, step.undo) if c is not None]
    assert {command.topic for command in commands} | set(saga.reply_topics) <= read


def test_command_declares_no_function_of_the_order_system():
    """Another system may have functions of the same names."""
    script = (
        "import saga.stacks.cli; from saga.runtime.function import _registry; print(*_registry)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=DEADLINE
    )
    assert done.stdout.strip() == ""
