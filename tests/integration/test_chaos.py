"""Random kills under load, on a laptop's broker and databases and on those of servers."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from saga.runtime.kafka.application import Admin
from saga.runtime.settings import Settings
from saga.stacks.refused_sends import LIMIT

pytestmark = pytest.mark.proof


@pytest.mark.timeout(1000)
def test_nothing_is_lost_or_doubled_under_random_kills(start_either: Callable[[], Any]) -> None:
    system = start_either()
    settings = system.settings().on_broker(system.broker())
    limit(settings, "user.pay", "1900000")
    limit(settings, "user.refund", "1")  # as a run that was killed has left it
    done = system.saga(
        *("chaos", "--orders", "1000", "--seconds", "30", "--seed", "2026", "--json"),
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    verdict = json.loads(done.stdout)
    assert "brokers are down" not in done.stderr
    assert verdict["violations"] == []
    assert verdict["unseen"] == []
    assert verdict["accepted"] == verdict["orders"] >= 1000
    ended = verdict["completed"] + verdict["compensated"]
    assert ended == verdict["orders"] + verdict["own_orders"]
    assert sum(verdict["kills"].values()) > 15
    assert limit_of(settings, "user.pay") == "1900000"
    assert limit_of(settings, "user.refund") == limit_of(settings, "user.events") != "1"
    system.saga("down")


def limit(settings: Settings, topic: str, size: str) -> None:
    """Give a topic a limit of its own."""
    entry = ConfigEntry(LIMIT, size, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = Admin(settings).client
    admin.incremental_alter_configs([resource])[resource].result()


def limit_of(settings: Settings, topic: str) -> str:
    """Return the limit of a topic, its own or the broker's."""
    resource = ConfigResource(ResourceType.TOPIC, topic)
    admin = Admin(settings).client
    return str(admin.describe_configs([resource])[resource].result()[LIMIT].value)
