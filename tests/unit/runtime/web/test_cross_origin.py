"""No page of another origin lets a browser change anything; programs are refused nothing."""

import pytest
from sanic import Blueprint

from saga.runtime.settings import Settings
from saga.runtime.web import answer, new_app
from saga.runtime.web.app import Health
from saga.runtime.web.openapi import describe
from support.api import run_app

REFUSED = [
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site", "origin": "http://127.0.0.1:1"},
    {"sec-fetch-site": "cross-site", "origin": "http://{host}"},
    {"origin": "http://evil.example"},
    {"origin": "null"},
    {"origin": "http://["},
]
OWN = [
    {},
    {"sec-fetch-site": "same-origin", "origin": "http://{host}"},
    {"sec-fetch-site": "none"},
    {"origin": "http://{host}"},
    {"origin": "https://{host}"},
]


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    bakery = Blueprint("bakery")

    @bakery.route("/bread", methods=["GET"])
    @describe({200: Health})
    async def look(_):
        return answer(Health())

    for method in ("POST", "PUT", "PATCH", "DELETE"):

        @bakery.route("/bread", methods=[method], name=f"{method}_bread")
        @describe({200: Health}, name=f"{method}_bread")
        async def act(_):
            return answer(Health())

    settings = Settings(saga_data=tmp_path_factory.mktemp("data"))
    with run_app(new_app("bakery", settings, [], bakery)) as api:
        yield api


def ask(api, method, headers):
    host = f"127.0.0.1:{api.client.port}"
    told = {name: value.format(host=host) for name, value in headers.items()}
    return api.ask(method, "/bread", headers={"host": host, **told})


@pytest.mark.parametrize("headers", REFUSED, ids=str)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_page_of_another_origin_changes_nothing(api, method, headers):
    refused = ask(api, method, headers)
    assert (refused.status, refused.json["code"]) == (403, "cross_origin")
    assert refused.json["type"] == "/docs/problems#cross_origin"


@pytest.mark.parametrize("headers", REFUSED, ids=str)
def test_page_of_another_origin_may_look(api, headers):
    assert ask(api, "GET", headers).status == 200


@pytest.mark.parametrize("headers", OWN, ids=str)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_program_and_page_of_this_origin_are_heard(api, method, headers):
    assert ask(api, method, headers).status == 200
