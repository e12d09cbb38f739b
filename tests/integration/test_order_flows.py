"""The order saga through HTTP, Kafka and real processes."""

from decimal import Decimal
from typing import Any

import pytest


def steps_of(saga: dict[str, Any]) -> dict[str, str]:
    return {step["name"]: step["status"] for step in saga["steps"]}


def stock_of(system: Any, product: int) -> int:
    return int(system.http("GET", "product", f"/products/{product}").json()["stock"])


def balance_of(system: Any, user: int) -> Decimal:
    return Decimal(system.http("GET", "user", f"/users/{user}").json()["balance"])


def order_of(system: Any, saga: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = system.http("GET", "order", f"/orders/{saga['order_id']}").json()
    return answer


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
