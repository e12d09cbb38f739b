"""The product service over HTTP."""

from uuid import uuid4

import pytest

from saga.functions.product.messages import ReleaseProduct
from saga.functions.product.release_product import release_product
from saga.functions.product.store import ClosedProduct, Reservation

PEN = {"name": "Pen", "price": "1.20", "stock": 7}


def test_created_product_is_returned_with_its_location(products):
    response = products.post("/products", PEN)
    assert response.status_code == 201
    assert response.headers["location"] == "/products/1"
    assert {key: response.json[key] for key in PEN} == PEN
    assert products.get("/products/1").json == response.json
    assert products.get("/products").json == [response.json]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", " "),
        ("price", 0),
        ("price", "0.00"),
        ("price", -1),
        ("price", "0.001"),
        ("price", 10**10 + 1),
        ("stock", -1),
        ("stock", 1.5),
        ("stock", 2**53 + 2.0),
        ("stock", "5"),
        ("stock", True),
        ("stock", 2**53 + 1),
        ("stock", 10**400),
        ("stock", None),
        ("id", 1),
    ],
)
def test_wrong_field_is_named(products, field, value):
    for response in (
        products.post("/products", {**PEN, field: value}),
        products.put("/products/1", {field: value}),
    ):
        assert response.status_code == 422
        assert list(response.json["errors"]) == [field]


def test_change_sets_the_free_units(products):
    before = products.post("/products", PEN).json
    response = products.put("/products/1", {"stock": 2**53, "price": 2})
    assert response.status_code == 200
    assert response.json == {**before, "stock": 2**53, "price": "2.00"}


def test_change_of_nothing_is_refused(products):
    assert products.put("/products/1", {}).status_code == 422


def test_unknown_product(products):
    assert products.get("/products/1").status_code == 404
    assert products.put("/products/1", {"name": "Ink"}).status_code == 404
    assert products.delete("/products/1").status_code == 404


def test_deleted_product_is_gone(products):
    products.post("/products", PEN)
    assert products.delete("/products/1").status_code == 204
    assert products.get("/products/1").status_code == 404
    assert products.put("/products/1", {"name": "Ink"}).status_code == 404
    assert products.delete("/products/1").status_code == 404
    assert products.get("/products").json == []


def test_deleted_product_counts_what_orders_hold_of_it(products):
    products.post("/products", PEN)
    order = uuid4()
    Reservation.create(order_id=order, product_id=1, quantity=2)
    assert products.delete("/products/1").status_code == 204
    release_product(ReleaseProduct(order_id=order))
    assert ClosedProduct.get_by_id(1).stock == 9


@pytest.mark.parametrize("query", ["limit=0", "after=x", "name=Pen"])
def test_wrong_query_parameter_is_refused(products, query):
    assert products.get(f"/products?{query}").status_code == 422


def test_list_is_walked_by_its_link(products):
    for _ in range(3):
        products.post("/products", PEN)
    first = products.get("/products?limit=2")
    rest = products.get(first.links["next"]["url"])
    assert [p["id"] for p in first.json + rest.json] == [1, 2, 3]
