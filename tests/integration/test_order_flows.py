"""Orders through HTTP, Kafka and real processes, and bytes that nobody can read on every topic.

One system does both: what can't be read is set aside, and `saga dlq` tells of it.
"""

import json
import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer

from support import c_client
from support.missing import need_programs
from support.system import ROOT
from support.waiting import DEADLINE

TOPICS = [
    "order.create",
    "order.complete",
    "order.cancel",
    "order.events",
    "product.reserve",
    "product.release",
    "product.events",
    "user.pay",
    "user.refund",
    "user.events",
]
JUNK = b"\xff\xfe not a message"
MANY = 30  # after some calls of one method, the interpreter makes them in another way


def steps_of(saga: dict[str, Any]) -> dict[str, str]:
    return {step["name"]: step["status"] for step in saga["steps"]}


def stock_of(system: Any, product: int) -> int:
    return int(system.http("GET", "product", f"/products/{product}").json()["stock"])


def balance_of(system: Any, user: int) -> Decimal:
    return Decimal(system.http("GET", "user", f"/users/{user}").json()["balance"])


def order_of(system: Any, saga: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = system.http("GET", "order", f"/orders/{saga['order_id']}").json()
    return answer


def test_the_curl_commands_of_the_readme_place_an_order(system: Any) -> None:
    """The first one here: nobody has made a user yet, as the example takes it."""
    need_programs("curl", packages="curl")
    readme = (ROOT / "README.md").read_text()
    [commands] = re.findall(r"<!-- test: curl -->\n```\w+\n(.*?)```", readme, re.DOTALL)
    numbers = {"user": 8000, "product": 8001, "order": 8002, "orchestrator": 8003}
    for service, port in numbers.items():
        commands = commands.replace(f"localhost:{port}/", f"127.0.0.1:{system.ports[service]}/")
    done = subprocess.run(
        ["bash", "-ec", commands], capture_output=True, text=True, timeout=DEADLINE
    )
    assert done.returncode == 0, done.stderr
    answers = json.JSONDecoder()
    rest, read = done.stdout, []
    while rest.strip():
        value, end = answers.raw_decode(rest)
        read.append(value)
        rest = rest[end:].lstrip()
    user, product, order, sagas = read
    assert (user["id"], product["id"]) == (1, 1)
    assert order["status"] == "COMPLETED"
    assert [row["saga_id"] for row in sagas] == [order["saga_id"]]


def test_an_order_completes_through_four_steps(system: Any) -> None:
    user, product = system.make_user("100.00"), system.make_product("19.99", 3)
    saga = system.order(user, product, 2)
    assert saga["status"] == "COMPLETED"
    assert set(steps_of(saga).values()) == {"DONE"}
    assert (balance_of(system, user), stock_of(system, product)) == (Decimal("60.02"), 1)
    order = order_of(system, saga)
    assert (order["status"], order["total"]) == ("COMPLETED", "39.98")
    assert order["saga_id"] == saga["saga_id"]


def test_too_little_stock_cancels_the_order(system: Any) -> None:
    user, product = system.make_user(), system.make_product(stock=1)
    saga = system.order(user, product, 2)
    assert (saga["status"], saga["failure"]["code"]) == ("COMPENSATED", "insufficient_stock")
    assert steps_of(saga) == {
        "create_order": "UNDONE",
        "reserve_product": "REJECTED",
        "process_payment": "PENDING",
        "complete_order": "PENDING",
    }
    assert order_of(system, saga)["status"] == "CANCELLED"
    assert (balance_of(system, user), stock_of(system, product)) == (Decimal("100.00"), 1)


def test_too_little_money_releases_the_product_and_cancels_the_order(system: Any) -> None:
    user, product = system.make_user("5.00"), system.make_product("10.00", 4)
    saga = system.order(user, product, 3)
    assert (saga["status"], saga["failure"]["code"]) == ("COMPENSATED", "insufficient_funds")
    assert steps_of(saga)["reserve_product"] == steps_of(saga)["create_order"] == "UNDONE"
    assert (balance_of(system, user), stock_of(system, product)) == (Decimal("5.00"), 4)
    assert order_of(system, saga)["status"] == "CANCELLED"


@pytest.mark.parametrize("unknown", ["user", "product"])
def test_an_unknown_user_or_product_compensates(system: Any, unknown: str) -> None:
    user = 999_999 if unknown == "user" else system.make_user()
    product = 999_999 if unknown == "product" else system.make_product(stock=5)
    saga = system.order(user, product)
    assert (saga["status"], saga["failure"]["code"]) == ("COMPENSATED", f"{unknown}_not_found")
    assert order_of(system, saga)["status"] == "CANCELLED"
    if unknown == "user":
        assert stock_of(system, product) == 5


def test_the_same_idempotency_key_orders_once(system: Any) -> None:
    user, product = system.make_user(), system.make_product(stock=5)
    body = {"user_id": user, "product_id": product, "quantity": 1}
    headers = {"Idempotency-Key": f"order-{user}-{product}", "Prefer": "wait=20"}
    answers = [
        system.http("POST", "orchestrator", "/orders", json=body, headers=headers) for _ in range(3)
    ]
    assert len({answer.json()["saga_id"] for answer in answers}) == 1
    assert stock_of(system, product) == 4


def test_health_is_ok_on_every_port(system: Any) -> None:
    for service in system.ports:
        answer = system.http("GET", service, "/health")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.fixture
def dead_letters(system: Any) -> Iterator[Consumer]:
    consumer = Consumer(
        {
            "bootstrap.servers": system.broker(),
            "group.id": f"test-{time.time_ns()}",
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 10,
            "session.timeout.ms": 4000,
            "heartbeat.interval.ms": 400,
        }
    )
    consumer.subscribe([f"{topic}.dlq" for topic in TOPICS])
    yield consumer
    consumer.close()


def test_junk_ends_in_the_dead_letters_and_the_function_goes_on(
    system: Any, dead_letters: Consumer
) -> None:
    producer = Producer({"bootstrap.servers": system.broker()})
    for topic in TOPICS:
        producer.produce(topic, value=JUNK, key=b"k", headers=[("ce_id", b"\xff"), ("mine", b"1")])
    assert producer.flush(DEADLINE) == 0

    found: dict[str, Any] = {}
    deadline = time.monotonic() + DEADLINE
    while len(found) < len(TOPICS) and time.monotonic() < deadline:
        message = dead_letters.poll(0.2)
        if message is not None and message.error() is None and message.value() == JUNK:
            found[message.topic()] = message
    assert sorted(found) == sorted(f"{topic}.dlq" for topic in TOPICS)
    for message in found.values():
        headers = dict(message.headers())
        assert message.key() == b"k"
        assert (headers["ce_id"], headers["mine"]) == (b"\xff", b"1")
        assert headers["dlq_topic"].decode() + ".dlq" == message.topic()
        assert b"CloudEvents" in headers["dlq_reason"]

    saga = system.order(system.make_user(), system.make_product())
    assert saga["status"] == "COMPLETED"


def test_header_whose_name_is_no_text_holds_up_nobody(
    system: Any, until: Callable[..., Any]
) -> None:
    """A function, a saga's host, an adapter, and `saga dlq` each come upon one."""
    read = ["product.reserve", "order.events"]
    headers = {b"ce_id": b"c-client/x/do", b"caf\xe9": b"1"}
    for topic in (*read, "place-order.ended", "product.reserve.dlq"):
        c_client.send(system.broker(), topic, b"c-client", b"of a C client", headers, MANY)
    saga = system.order(system.make_user(), system.make_product())
    assert saga["status"] == "COMPLETED"
    many = len(read) * MANY
    until(lambda: len(open_dead_letters(system, "c-client")) == many, "the letters are there")
    letters = open_dead_letters(system, "c-client")
    assert Counter(letter["topic"] for letter in letters) == dict.fromkeys(read, MANY)
    assert {letter["reason"] for letter in letters} == {"the name of a header is not UTF-8"}
    shown = system.saga("dlq", "show", letters[0]["id"]).stdout
    assert "of a C client" in shown
    for name, row in system.processes().items():
        assert (name, row["state"], row["restarts"]) == (name, "ready", 0)


@pytest.fixture
def bury(system: Any, until: Callable[..., Any]) -> Callable[[str], dict[str, Any]]:
    """Send a command that its function can't read, and return its dead letter."""

    def bury(saga_id: str) -> dict[str, Any]:
        producer = Producer({"bootstrap.servers": system.broker()})
        headers = {"ce_id": f"{saga_id}/x/do", "ce_type": "ReserveProduct", "ce_source": "/test"}
        producer.produce("product.reserve", value=b"{}", key=saga_id, headers=headers)
        assert producer.flush(DEADLINE) == 0
        return until(lambda: open_dead_letters(system, saga_id), "the dead letter is there")[0]

    return bury


def open_dead_letters(system: Any, saga_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        system.saga("dlq", "list", "--saga", saga_id, "--json").stdout
    )
    return found


def test_a_dead_letter_is_listed_shown_and_dropped(system: Any, bury: Callable[..., Any]) -> None:
    dead_letter = bury("stranger-1")
    assert dead_letter["function"] == "product.reserve_product"
    assert "order_id: Field required" in dead_letter["reason"]
    assert dead_letter["saga_status"] is None
    shown = system.saga("dlq", "show", dead_letter["id"]).stdout
    assert "ce_type: ReserveProduct" in shown
    assert "1 would be dropped" in system.saga("dlq", "drop", dead_letter["id"], "--dry-run").stdout
    assert open_dead_letters(system, "stranger-1") == [dead_letter]
    system.saga("dlq", "drop", dead_letter["id"])
    assert open_dead_letters(system, "stranger-1") == []


def test_a_replayed_dead_letter_comes_back_with_its_count(
    system: Any, bury: Callable[..., Any], until: Callable[..., Any]
) -> None:
    dead_letter = bury("stranger-2")
    system.saga("dlq", "replay", "--saga", "stranger-2")
    again = until(
        lambda: [
            row for row in open_dead_letters(system, "stranger-2") if row["id"] != dead_letter["id"]
        ],
        "the dead letter comes back",
    )
    assert [row["replays"] for row in again] == [1]


def test_a_dead_letter_of_an_ended_saga_is_not_replayed(
    system: Any, bury: Callable[..., Any]
) -> None:
    saga = system.order(system.make_user(), system.make_product())
    dead_letter = bury(saga["saga_id"])
    assert dead_letter["saga_status"] == "COMPLETED"
    refused = system.saga("dlq", "replay", dead_letter["id"], check=False)
    assert refused.returncode == 1
    assert "its saga has ended" in refused.stderr
    passed = system.saga("dlq", "replay", "--saga", saga["saga_id"]).stdout
    assert "passed over" in passed
    assert open_dead_letters(system, saga["saga_id"]) == [dead_letter]


def test_an_unknown_dead_letter_and_a_missing_filter_are_clear_errors(system: Any) -> None:
    assert "no open dead letter nope" in system.saga("dlq", "show", "nope", check=False).stderr
    assert "--topic, --saga or --reason" in system.saga("dlq", "drop", check=False).stderr
