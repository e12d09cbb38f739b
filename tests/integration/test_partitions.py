"""Topics get more partitions under sagas in flight, on the embedded broker and on Apache Kafka."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import OffsetSpec

from saga.runtime.kafka.application import Admin

pytestmark = [pytest.mark.proof, pytest.mark.timeout(300)]

READ = ("order.create", "product.reserve", "user.pay", "order.complete", "order.events")


def used(admin: Admin, partitions: range) -> set[str]:
    """Return the topics that have records in some of the partitions."""
    places = [TopicPartition(topic, number) for topic in READ for number in partitions]
    ends = admin.client.list_offsets({place: OffsetSpec.latest() for place in places})
    return {place.topic for place, end in ends.items() if end.result().offset}


def test_partitions_are_raised_by_a_deploy_and_by_an_up_and_nothing_is_lost(
    start_either: Callable[[], Any], traffic: type[Any], until: Callable[..., Any]
) -> None:
    system = start_either()
    settings = system.settings().on_broker(system.broker())

    def wanted(partitions: int) -> None:
        for path in system.stacks.glob("*.toml"):
            text = re.sub("partitions = .*", f"partitions = {partitions}", path.read_text())
            path.write_text(text)

    def widths() -> set[int]:
        known = Admin(settings).topics()
        return {len(known[topic].partitions) for topic in READ}

    assert widths() == {3}
    with traffic(system) as load:
        load.flows(20)
        wanted(8)
        system.saga("deploy")
        assert widths() == {8}
        new = range(3, 8)
        # Those that ran before, too, send there soon.
        admin = Admin(settings)
        until(lambda: used(admin, new) == {*READ}, "all send to partitions that are new")
        load.flows(20)
    assert load.violations(60) == []
    kind = "embedded" if system.database_url is None else "kafka"
    system.saga("down")
    wanted(9)
    system.saga("up", "--detach", "--broker", kind)
    settings = system.settings().on_broker(system.broker())
    assert widths() == {9}
    wanted(2)
    system.saga("deploy")
    assert widths() == {9}, "Kafka takes none away"
    assert "order.create keeps its 9 partitions" in system.saga("logs", "order.create_order").stdout
    user, product = system.make_user(), system.make_product()
    assert system.order(user, product)["status"] == "COMPLETED"
