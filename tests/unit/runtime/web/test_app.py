"""What one request's code does is that request's business, whatever it is."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import field_validator
from sanic import Blueprint, HTTPResponse, Request

from saga.runtime.settings import Settings
from saga.runtime.web import new_app
from saga.runtime.web.payload import Body, read
from support.api import Api, run_app

oven = Blueprint("oven")


class Heat(Body):
    degrees: int

    @field_validator("degrees")
    @classmethod
    def bearable(cls, degrees: int) -> int:
        return degrees if degrees < 300 else sys.exit("too hot")


@oven.post("/oven")
async def heat(request: Request) -> HTTPResponse:
    return HTTPResponse(str(read(request, Heat).degrees))


@oven.delete("/oven")
async def switch_off(_: Request) -> HTTPResponse:
    sys.exit(0)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with run_app(new_app("oven", Settings(saga_data=tmp_path), [], oven)) as api:
        yield api


@pytest.mark.parametrize(("method", "body"), [("DELETE", {}), ("POST", {"degrees": 400})])
def test_request_whose_code_exits_has_failed_and_others_are_answered(
    api: Api, method: str, body: dict[str, int]
) -> None:
    failed = api.ask(method, "/oven", json=body, described=False)
    assert (failed.status, failed.json["code"]) == (500, "internal_error")
    assert api.ask("POST", "/oven", json={"degrees": 200}, described=False).text == "200"
