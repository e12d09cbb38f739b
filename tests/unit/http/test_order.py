"""The order service over HTTP."""

from uuid import UUID, uuid4

import pytest

from saga.functions.order.store import Order

WISH = {"user_id": 1, "product_id": 2, "quantity": 3}


def test_created_order_is_pending_and_has_no_saga(orders):
    response = orders.post("/orders", WISH)
    assert response.status_code == 201
    order = response.json
    assert response.headers["location"] == f"/orders/{order['id']}"
    assert {key: order[key] for key in WISH} == WISH
    assert (order["status"], order["saga_id"], order["total"]) == ("PENDING", None, None)
    assert UUID(order["id"]).version == 7
    assert orders.get(f"/orders/{order['id']}").json == order
    assert orders.get(f"/orders/{order['id'].upper()}").json == order


@pytest.mark.parametrize("field", WISH)
@pytest.mark.parametrize("value", [0, -1, 2**63, "1", 1.5, True, None, []])
def test_wrong_field_is_named(orders, field, value):
    response = orders.post("/orders", {**WISH, field: value})
    assert response.status_code == 422
    assert list(response.json["errors"]) == [field]


def test_whole_number_may_be_written_with_a_point(orders):
    assert orders.post("/orders", {**WISH, "quantity": 3.0}).json["quantity"] == 3


def test_too_many_units_are_refused(orders):
    assert orders.post("/orders", {**WISH, "quantity": 1_000_001}).status_code == 422
    assert orders.post("/orders", {**WISH, "quantity": 1_000_000}).status_code == 201


@pytest.mark.parametrize(
    "path", ["1", "x", "%7B", str(UUID(int=0)), str(UUID(int=99)), UUID(int=98).hex]
)
def test_unknown_order(orders, path):
    assert orders.get(f"/orders/{path}").status_code == 404
    assert orders.delete(f"/orders/{path}").status_code == 404


def test_orders_are_listed_oldest_first(orders):
    made = [orders.post("/orders", WISH).json["id"] for _ in range(5)]
    first = orders.get("/orders?limit=3")
    rest = orders.get(first.links["next"]["url"])
    assert [order["id"] for order in first.json + rest.json] == made
    assert "link" not in rest.headers


def test_orders_are_filtered_by_status_and_user(orders):
    mine = [orders.post("/orders", {**WISH, "user_id": 7}).json["id"] for _ in range(3)]
    orders.post("/orders", WISH)
    Order.update(status="COMPLETED", total="3.60").where(Order.id == mine[0]).execute()
    assert [o["total"] for o in orders.get("/orders?status=COMPLETED").json] == ["3.60"]
    assert orders.get("/orders?status=CANCELLED").json == []
    first = orders.get("/orders?user_id=7&status=PENDING&limit=1")
    rest = orders.get(first.links["next"]["url"])
    assert [order["id"] for order in first.json + rest.json] == mine[1:]


@pytest.mark.parametrize("query", ["status=NOPE", "status=", "user_id=x", "after=1", "limit=0"])
def test_wrong_query_parameter_is_refused(orders, query):
    assert orders.get(f"/orders?{query}").status_code == 422


def test_deleted_order_is_gone(orders):
    path = orders.post("/orders", WISH).headers["location"]
    assert orders.delete(path).status_code == 204
    assert orders.get(path).status_code == 404


def test_order_can_not_be_deleted_while_its_saga_runs(orders):
    path = orders.post("/orders", WISH).headers["location"]
    Order.update(saga_id=uuid4()).execute()
    assert orders.delete(path).json["code"] == "order_running"
    Order.update(status="CANCELLED").execute()
    assert orders.delete(path).status_code == 204
