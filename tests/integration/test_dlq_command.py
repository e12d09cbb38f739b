"""`saga dlq` on a running system."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Producer


@pytest.fixture
def bury(system: Any, until: Callable[..., Any]) -> Callable[[str], dict[str, Any]]:
    """Send a command that its function can't read, and return its dead letter."""

    def bury(saga_id: str) -> dict[str, Any]:
        producer = Producer({"bootstrap.servers": system.broker()})
        headers = {"ce_id": f"{saga_id}/x/do", "ce_type": "ReserveProduct", "ce_source": "/test"}
        producer.produce("product.reserve", value=b"{}", key=saga_id, headers=headers)
        assert producer.flush(10) == 0
        return until(lambda: letters(system, saga_id), "the letter is there")[0]

    return bury


def letters(system: Any, saga_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        system.saga("dlq", "list", "--saga", saga_id, "--json").stdout
    )
    return found


def test_a_letter_is_listed_shown_and_dropped(system: Any, bury: Callable[..., Any]) -> None:
    letter = bury("stranger-1")
    assert letter["function"] == "product.reserve_product"
    assert "order_id: Field required" in letter["reason"]
    assert letter["saga_status"] is None
    shown = system.saga("dlq", "show", letter["id"]).stdout
    assert "ce_type: ReserveProduct" in shown
    assert "1 would be dropped" in system.saga("dlq", "drop", letter["id"], "--dry-run").stdout
    assert letters(system, "stranger-1") == [letter]
    system.saga("dlq", "drop", letter["id"])
    assert letters(system, "stranger-1") == []


def test_a_replayed_letter_comes_back_with_its_count(
    system: Any, bury: Callable[..., Any], until: Callable[..., Any]
) -> None:
    letter = bury("stranger-2")
    system.saga("dlq", "replay", "--saga", "stranger-2")
    again = until(
        lambda: [row for row in letters(system, "stranger-2") if row["id"] != letter["id"]],
        "the letter comes back",
    )
    assert [row["replays"] for row in again] == [1]


def test_a_letter_of_an_ended_saga_is_not_replayed(system: Any, bury: Callable[..., Any]) -> None:
    saga = system.order(system.make_user(), system.make_product())
    letter = bury(saga["saga_id"])
    assert letter["saga_status"] == "COMPLETED"
    refused = system.saga("dlq", "replay", letter["id"], check=False)
    assert refused.returncode == 1
    assert "the saga has ended" in refused.stderr
    passed = system.saga("dlq", "replay", "--saga", saga["saga_id"]).stdout
    assert "passed over" in passed
    assert letters(system, saga["saga_id"]) == [letter]


def test_an_unknown_letter_and_a_missing_filter_are_clear_errors(system: Any) -> None:
    assert "no open dead letter nope" in system.saga("dlq", "show", "nope", check=False).stderr
    assert "--topic, --saga or --reason" in system.saga("dlq", "drop", check=False).stderr
