"""Topics get more partitions under sagas in flight, on the embedded broker and on Apache Kafka."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import OffsetSpec

from saga.runtime.kafka.application import Admin

pytestmark = [pytest.mark.proof, pytest.mark.timeout(300)]

# Topics by who reads them, and by that says how many partitions they have: some services are given
# more when others are given fewer.
SOME = {
    "order": {"order.create", "order.complete"},
    "orchestrator": {"order.events", "product.events", "user.events"},
}
OTHERS = {"product": {"product.reserve"}, "user": {"user.pay"}}


def used(admin: Admin, topics: set[str], partitions: range) -> set[str]:
    """Return the topics that have records in some of the partitions."""
    places = [TopicPartition(topic, number) for topic in topics for number in partitions]
    ends = admin.client.list_offsets({place: OffsetSpec.latest() for place in places})
    return {place.topic for place, end in ends.items() if end.result().offset}


def test_partitions_are_raised_by_a_deploy_and_by_an_up_and_nothing_is_lost(
    start_either: Callable[[], Any], traffic: type[Any], until: Callable[..., Any]
) -> None:
    system = start_either()
    settings = system.settings().on_broker(system.broker())

    def want(some: int, others: int) -> None:
        for service in (*SOME, *OTHERS):
            path, wanted = system.stacks / f"{service}.toml", some if service in SOME else others
            text = re.sub("partitions = .*\n", "", path.read_text())
            path.write_text(text.replace("replicas = ", f"partitions = {wanted}\nreplicas = "))

    def widths(services: dict[str, set[str]]) -> set[int]:
        known = Admin(settings).topics()
        return {len(known[topic].partitions) for topic in set().union(*services.values())}

    def have(some: int, others: int) -> None:
        # A broker may tell of partitions a moment after its controller has made them.
        what = f"{some} and {others} partitions"
        until(lambda: (widths(SOME), widths(OTHERS)) == ({some}, {others}), what)

    def told(name: str) -> str:
        return str(system.saga("logs", name).stdout)

    have(some=1, others=1)
    want(some=3, others=3)
    system.saga("deploy")
    have(some=3, others=3)
    with traffic(system) as load:
        load.flows(20)
        want(some=5, others=2)
        system.saga("deploy")
        have(some=5, others=3)  # Kafka takes none away
        assert "product.reserve keeps its 3 partitions" in told("product.reserve_product")
        # Those that ran before, too, send there soon.
        admin, wider, new = Admin(settings), set().union(*SOME.values()), range(3, 5)
        until(lambda: used(admin, wider, new) == wider, "all send to partitions that are new")
        load.flows(20)
    assert load.violations(60) == []
    kind = "embedded" if system.database_url is None else "kafka"
    system.saga("down")
    want(some=2, others=4)
    system.saga("up", "--detach", "--broker", kind)
    settings = system.settings().on_broker(system.broker())
    have(some=5, others=4)
    assert "order.create keeps its 5 partitions" in told("order.create_order")
    user, product = system.make_user(), system.make_product()
    assert system.order(user, product)["status"] == "COMPLETED"
