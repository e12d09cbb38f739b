"""What an answer may not be, by the document of its app."""

import json
from datetime import timedelta

import httpx
import pytest

from saga.http import user
from saga.runtime.settings import Settings
from support.api import run_app
from support.described import Undescribed, check_answer

ANN = {
    "id": 1,
    "name": "Ann",
    "email": "ann@example.com",
    "balance": "1.20",
    "created_at": "2026-01-01T00:00:00Z",
}
LOST = {
    "type": "/docs/problems#not_found",
    "code": "not_found",
    "title": "There is no such thing",
    "status": 404,
    "detail": "there is no user 1",
}
PROBLEM = "application/problem+json"
PLACE = {"location": "/users/1"}


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    settings = Settings(saga_data=tmp_path_factory.mktemp("data"))
    with run_app(user.make_app(settings)) as api:
        return api.app.ctx.document()


def answer(line, status, body=None, kind="application/json", **headers):
    """Make the answer to a request: `GET /users`."""
    method, path = line.split()
    made = httpx.Response(
        status,
        content=b"" if body is None else json.dumps(body).encode(),
        headers={"etag": '"1"', **({"content-type": kind} if kind else {}), **headers},
        request=httpx.Request(method, f"http://127.0.0.1{path}"),
    )
    made.elapsed = timedelta(0)
    return made


@pytest.mark.parametrize(
    "described",
    [
        answer("GET /users/1", 200, ANN),
        answer("HEAD /users/1", 200),
        answer("GET /users/", 200, [ANN]),
        answer("POST /users", 201, ANN, **PLACE),
        answer("DELETE /users/1", 204, kind=None),
        answer("GET /users/x", 404, LOST, PROBLEM),
        answer("GET /nowhere", 404, LOST, PROBLEM),
        answer("GET /users", 500, {**LOST, "status": 500}, PROBLEM),
        answer("GET /docs/start.js", 200, "", "text/javascript"),
    ],
    ids=repr,
)
def test_described_answer_passes(document, described):
    check_answer(document, described)


def test_answer_to_headers_that_no_one_sends_is_compared_too(document):
    asked = answer("GET /users/1", 200, ANN)
    asked.request.headers["x"] = "\x85"
    check_answer(document, asked)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (answer("GET /users/1", 201, ANN), "Undocumented status code"),
        (answer("HEAD /users/1", 201), "Undocumented status code"),
        (answer("GET /users/1", 409, LOST, PROBLEM), "Undocumented status code"),
        (answer("GET /users/1", 200, ANN, "text/plain"), "Undocumented Content-Type"),
        (answer("GET /users/1", 404, LOST), "Undocumented Content-Type"),
        (answer("GET /users/1", 200, {**ANN, "balance": "1.2"}), "does not match"),
        (answer("GET /users/1", 200, {**ANN, "email": None}), 'is not of type "string"'),
        (answer("GET /users/1", 200, {**ANN, "created_at": "today"}), 'is not a "date-time"'),
        (answer("GET /users", 200, ANN), 'is not of type "array"'),
        (answer("GET /users/1", 404, {}, PROBLEM), "is a required property"),
        (answer("GET /users/1", 404, {**LOST, "code": "lost"}, PROBLEM), "is not one of"),
        (answer("POST /users", 201, ANN), "Location"),
        (answer("GET /users", 503, LOST, PROBLEM), "Retry-After"),
        (answer("DELETE /users/1", 204, {}), "204 with a body"),
        (answer("GET /nowhere", 200, LOST, PROBLEM), "is no problem"),
        (answer("GET /nowhere", 404, LOST), "is no problem"),
        (answer("GET /nowhere", 404, {}, PROBLEM), "Field required"),
        (answer("GET /users", 500, LOST), "is no problem"),
    ],
    ids=repr,
)
def test_undescribed_answer_is_found(document, wrong, reason):
    with pytest.raises(Undescribed, match=reason):
        check_answer(document, wrong)
