"""Entity tags: a client changes only what it knows, and need not read what it knows again."""

from decimal import Decimal
from uuid import uuid4

import pytest

from saga.functions.user.messages import ProcessPayment
from saga.functions.user.process_payment import process_payment

MADE = {
    "user": ("/users", {"name": "Ann", "email": "ann@example.com", "balance": "10.50"}),
    "product": ("/products", {"name": "Pen", "price": "1.20", "stock": 7}),
    "order": ("/orders", {"user_id": 1, "product_id": 1, "quantity": 1}),
}
OTHER = '"other"'


@pytest.fixture(params=MADE)
def service(request):
    return request.param


@pytest.fixture
def api(request, service):
    return request.getfixturevalue(f"{service}s")


@pytest.fixture
def made(api, service):
    return api.post(*MADE[service])


@pytest.fixture
def path(made):
    return made.headers["location"]


@pytest.fixture
def tag(made):
    return made.headers["etag"]


def test_tag_is_that_of_the_state(api, path, tag):
    for method in ("GET", "HEAD"):
        assert api.ask(method, path).headers["etag"] == tag


@pytest.mark.parametrize("known", ["{}", "W/{}", "*", '"a", W/"b,c" ,{}'])
def test_what_is_known_is_not_read_again(api, path, tag, known):
    for method in ("GET", "HEAD"):
        response = api.ask(method, path, headers={"if-none-match": known.format(tag)})
        assert (response.status_code, response.content) == (304, b"")
        assert response.headers["etag"] == tag


@pytest.mark.parametrize("known", ["", OTHER, "W/", "nonsense", "{}x"])
def test_what_is_not_known_is_read(api, path, tag, known):
    response = api.get(path, headers={"if-none-match": known.format(tag.strip('"'))})
    assert response.status_code == 200


@pytest.mark.parametrize("wanted", [OTHER, "W/{}", "nonsense", '"a", "b"'])
def test_what_has_another_state_is_not_deleted(api, path, tag, wanted):
    response = api.delete(path, headers={"if-match": wanted.format(tag)})
    assert response.status_code == 412
    assert response.headers["content-type"] == "application/problem+json"
    assert api.get(path).status_code == 200


@pytest.mark.parametrize("wanted", ["{}", "*", "", '"a",{}'])
def test_what_has_the_wanted_state_is_deleted(api, path, tag, wanted):
    headers = {"if-match": wanted.format(tag)}
    assert api.delete(path, headers=headers).status_code == 204
    assert api.delete(path, headers=headers).status_code == 404


@pytest.mark.parametrize("service", ["user", "product"], indirect=True)
def test_only_the_first_of_two_changes_of_one_state_is_made(api, path, tag):
    headers = {"if-match": tag}
    changed = api.put(path, {"name": "First"}, headers=headers)
    assert changed.status_code == 200
    assert changed.headers["etag"] == api.get(path).headers["etag"] != tag
    assert api.put(path, {"name": "Second"}, headers=headers).status_code == 412
    assert api.get(path).json["name"] == "First"
    assert api.put(path, {"name": "Second"}).status_code == 200


def test_balance_that_an_order_has_changed_meanwhile_is_not_overwritten(users):
    made = users.post(*MADE["user"])
    process_payment(ProcessPayment(order_id=uuid4(), user_id=1, total=Decimal("0.50")))
    headers = {"if-match": made.headers["etag"]}
    assert users.put("/users/1", {"balance": "20.50"}, headers=headers).status_code == 412
    assert users.get("/users/1").json["balance"] == "10.00"
