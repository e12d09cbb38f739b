"""Deposits and deliveries: they add to what is there, once."""

from decimal import Decimal
from uuid import uuid4

import pytest

from saga.functions.user.messages import ProcessPayment
from saga.functions.user.process_payment import process_payment

ANN = {"name": "Ann", "email": "ann@example.com", "balance": "10.50"}
PEN = {"name": "Pen", "price": "1.20", "stock": 7}
MADE = {"user": ("/users", ANN), "product": ("/products", PEN)}
OTHER = {"user": {**ANN, "email": "bob@example.com"}, "product": PEN}
MORE = {"user": ("deposits", {"amount": "0.25"}), "product": ("deliveries", {"quantity": 5})}
LESS = {"user": {"amount": "0.24"}, "product": {"quantity": 4}}
KEY = {"idempotency-key": "k"}


@pytest.fixture(params=MADE)
def service(request):
    return request.param


@pytest.fixture
def api(request, service):
    return request.getfixturevalue(f"{service}s")


@pytest.fixture
def path(api, service):
    return api.post(*MADE[service]).headers["location"]


@pytest.fixture
def add(api, service, path):
    call, body = MORE[service]
    return lambda more=body, at=path, **headers: api.post(f"{at}/{call}", more, headers=headers)


def held(response):
    shown = response.json
    return shown.get("balance") or shown["stock"]


def test_what_is_added_is_there_at_once(api, path, add):
    for expected in ({"10.75", 12}, {"11.00", 17}):
        response = add()
        assert response.status_code == 201
        assert held(response) in expected
        assert api.get(path).json == response.json
        assert api.get(path).headers["etag"] == response.headers["etag"]


def test_repeated_key_gives_the_same_answer_and_adds_nothing(api, path, add):
    first = add(**KEY)
    other = api.put(path, {"name": "Other"})
    again = add(**KEY)
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["etag"] == first.headers["etag"]
    assert held(api.get(path)) == held(first) == held(other)


def test_repeated_key_of_something_else_is_a_conflict(api, service, path, add):
    other = api.post(MADE[service][0], OTHER[service]).headers["location"]
    first = add(**KEY)
    assert add(LESS[service], **KEY).json["code"] == "key_reused"
    assert add(at=other, **KEY).json["code"] == "key_reused"
    assert held(api.get(path)) == held(first)
    assert add(at=other).status_code == 201


def test_key_of_what_was_refused_is_unused(api, service, path, add):
    assert add(at=f"{MADE[service][0]}/99", **KEY).status_code == 404
    assert add(**KEY).status_code == 201


def test_two_keys_are_refused(api, service, path):
    call, body = MORE[service]
    keys = [("idempotency-key", "k"), ("idempotency-key", "k")]
    response = api.post(f"{path}/{call}", body, headers=keys)
    assert list(response.json["errors"]) == ["Idempotency-Key"]


def test_deposits_at_the_same_time_all_count(api, service, path):
    call, body = MORE[service]
    responses = api.post_many(f"{path}/{call}", [body] * 20)
    assert {response.status_code for response in responses} == {201}
    assert held(api.get(path)) in ("15.50", 107)


def test_nothing_is_added_to_what_is_closed(api, path, add):
    assert api.delete(path).status_code == 204
    assert add().status_code == 404


@pytest.mark.parametrize("amount", [0, "-1", "0.001", 10**12 + 1, None, True])
def test_wrong_amount_is_named(users, amount):
    response = users.post("/users/1/deposits", {"amount": amount})
    assert (response.status_code, list(response.json["errors"])) == (422, ["amount"])


@pytest.mark.parametrize("quantity", [0, -1, 1.5, "1", 2**53 + 1, None, True])
def test_wrong_quantity_is_named(products, quantity):
    response = products.post("/products/1/deliveries", {"quantity": quantity})
    assert (response.status_code, list(response.json["errors"])) == (422, ["quantity"])


def test_balance_and_stock_stay_in_their_bounds(users, products):
    users.post("/users", ANN)
    assert users.post("/users/1/deposits", {"amount": 10**12}).json["code"] == "balance_limit"
    full = users.post("/users/1/deposits", {"amount": "999999999989.50"})
    assert full.json["balance"] == "1000000000000.00"
    products.post("/products", PEN)
    assert (
        products.post("/products/1/deliveries", {"quantity": 2**53}).json["code"] == "stock_limit"
    )
    full = products.post("/products/1/deliveries", {"quantity": 2**53 - 7})
    assert full.json["stock"] == 2**53


def test_deposit_leaves_a_payment_of_the_same_time_alone(users):
    users.post("/users", ANN)
    process_payment(ProcessPayment(order_id=uuid4(), user_id=1, total=Decimal("0.50")))
    assert users.post("/users/1/deposits", {"amount": 1}).json["balance"] == "11.00"
