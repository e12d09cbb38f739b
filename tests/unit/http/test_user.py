"""The user service over HTTP."""

from datetime import datetime
from decimal import Decimal
from uuid import uuid4

import pytest

from saga.functions.user.messages import RefundPayment
from saga.functions.user.refund_payment import refund_payment
from saga.functions.user.store import ClosedUser, Payment

ANN = {"name": "Ann", "email": "ann@example.com", "balance": "10.50"}


def test_created_user_is_returned_with_its_location(users):
    response = users.post("/users", ANN)
    assert response.status_code == 201
    assert response.headers["location"] == "/users/1"
    created = response.json
    assert {key: created[key] for key in ANN} == ANN
    assert datetime.fromisoformat(created["created_at"]).utcoffset().total_seconds() == 0
    assert users.get("/users/1").json == created


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (0, "0.00"),
        (5, "5.00"),
        (0.1, "0.10"),
        ("19.99", "19.99"),
        ("1.500", "1.50"),
        ("1." + "0" * 99, "1.00"),
        ("0" * 99 + "7.5", "7.50"),
        ("-0.00", "0.00"),
        (1e12, "1000000000000.00"),
        (-0.0, "0.00"),
    ],
)
def test_money_is_shown_with_two_places(users, given, shown):
    assert users.post("/users", {**ANN, "balance": given}).json["balance"] == shown


def test_money_is_never_a_float(users):
    body = '{"name": "Ann", "email": "ann@example.com", "balance": 900000000000.03}'
    assert users.send_text("POST", "/users", body).json["balance"] == "900000000000.03"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "  "),
        ("name", "x" * 201),
        ("name", 7),
        ("name", None),
        ("name", "nul\x00l"),
        ("name", "\x1f\x85\ufeff"),
        ("email", "nobody"),
        ("email", "a@b@c.org"),
        ("email", "Ann <ann@example.com>"),
        ("email", f"{'x' * 300}@example.com"),
        ("email", 5),
        ("balance", -1),
        ("balance", "-0.01"),
        ("balance", "1.001"),
        ("balance", 1.001),
        ("balance", 10**12 + 1),
        ("balance", "1e3"),
        ("balance", "1_0"),
        ("balance", " 1"),
        ("balance", "NaN"),
        ("balance", "Infinity"),
        ("balance", True),
        ("balance", None),
        ("balance", []),
        ("id", 7),
    ],
)
def test_wrong_field_is_named(users, field, value):
    for response in (
        users.post("/users", {**ANN, field: value}),
        users.put("/users/1", {field: value}),
    ):
        assert response.status_code == 422
        assert list(response.json["errors"]) == [field]


@pytest.mark.parametrize("field", ANN)
def test_missing_field_is_named(users, field):
    response = users.post("/users", {k: v for k, v in ANN.items() if k != field})
    assert response.status_code == 422
    assert response.json["errors"] == {field: "Field required"}


def test_lone_surrogate_is_refused(users):
    body = r'{"name": "\ud800", "email": "ann@example.com", "balance": 1}'
    assert users.send_text("POST", "/users", body).status_code == 422


@pytest.mark.parametrize("number", ["1e400", "1e-400", "1e999999999", "-1e999999999"])
def test_number_out_of_all_bounds_is_refused(users, number):
    body = '{"name": "Ann", "email": "ann@example.com", "balance": ' + number + "}"
    assert users.send_text("POST", "/users", body).status_code == 422


def test_taken_email_is_a_conflict(users):
    users.post("/users", ANN)
    assert users.post("/users", {**ANN, "email": "ann@EXAMPLE.com"}).json["code"] == "email_taken"


def test_change_to_taken_email_is_a_conflict(users):
    users.post("/users", ANN)
    users.post("/users", {**ANN, "email": "bob@example.com"})
    assert users.put("/users/2", {"email": ANN["email"]}).json["code"] == "email_taken"
    assert users.put("/users/1", {"email": ANN["email"]}).status_code == 200


@pytest.mark.parametrize(
    "change", [{"name": "Bo"}, {"balance": "0.00"}, {"email": "b@example.com"}]
)
def test_change_leaves_other_fields(users, change):
    before = users.post("/users", ANN).json
    response = users.put("/users/1", change)
    assert response.status_code == 200
    assert response.json == {**before, **change}
    assert users.get("/users/1").json == response.json


def test_change_of_nothing_is_refused(users):
    users.post("/users", ANN)
    assert users.put("/users/1", {}).status_code == 422


def test_deleted_user_is_gone(users):
    users.post("/users", ANN)
    response = users.delete("/users/1")
    assert (response.status_code, response.content) == (204, b"")
    assert users.delete("/users/1").status_code == 404
    assert users.get("/users/1").status_code == 404
    assert users.put("/users/1", {"name": "Bo"}).status_code == 404
    assert users.get("/users").json == []


def test_deleted_user_is_credited_what_is_due(users):
    users.post("/users", ANN)
    order = uuid4()
    Payment.create(order_id=order, user_id=1, amount="2.25")
    assert users.delete("/users/1").status_code == 204
    refund_payment(RefundPayment(order_id=order))
    assert ClosedUser.get_by_id(1).balance == Decimal("12.75")


def test_email_of_a_deleted_user_is_free(users):
    for number in (1, 2):
        assert users.post("/users", ANN).json["id"] == number
        assert users.delete(f"/users/{number}").status_code == 204
    assert users.post("/users", ANN).json["id"] == 3


@pytest.mark.parametrize(
    "path", ["x", "0", "-1", "1.0", "01", "+1", "1_", "%201", "9223372036854775808", "9" * 5000]
)
def test_id_that_can_not_be_is_unknown(users, path):
    users.post("/users", ANN)
    assert users.get(f"/users/{path}").status_code == 404


def test_largest_id_is_merely_unknown(users):
    response = users.get("/users/9223372036854775807")
    assert response.json["detail"] == "there is no user 9223372036854775807"


def test_list_is_walked_by_its_links(users):
    for number in range(5):
        users.post("/users", {**ANN, "email": f"{number}@example.com"})
    path, seen, pages = "/users?limit=2", [], 0
    while path:
        response = users.get(path)
        assert response.status_code == 200
        seen += [user["id"] for user in response.json]
        path = response.links.get("next", {}).get("url")
        pages += 1
    assert (seen, pages) == ([1, 2, 3, 4, 5], 3)


def test_full_last_page_has_no_link(users):
    users.post("/users", ANN)
    response = users.get("/users?limit=1")
    assert len(response.json) == 1
    assert "link" not in response.headers


@pytest.mark.parametrize("two", ["2", "2.0", "2e0", "0.2e1", "20E-1", "02"])
def test_whole_number_in_a_query_may_be_written_as_in_json(users, two):
    for number in range(3):
        users.post("/users", {**ANN, "email": f"{number}@example.com"})
    response = users.get(f"/users?limit={two}")
    assert len(response.json) == 2
    assert response.links["next"]["url"] == "/users?limit=2&after=2"


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=abc",
        "limit=",
        "limit=1&limit=2",
        "limit=%2B5",
        "after=x",
        "after=0",
        "after=-1",
        "after=9223372036854775808",
        "after=1.5",
        "after=1e-1",
        "limit=1e99",
        "color=red",
    ],
)
def test_wrong_query_parameter_is_named(users, query):
    response = users.get(f"/users?{query}")
    assert response.status_code == 422
    assert list(response.json["errors"]) == [query.partition("=")[0]]
