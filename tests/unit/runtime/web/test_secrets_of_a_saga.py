"""A saga whose messages have secret fields: no answer of its API has them."""

import json
from collections.abc import Iterator
from uuid import uuid4

import pytest
from pydantic import BaseModel, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from saga.runtime import Command, Event, Message, Saga, Step
from saga.runtime.errors import ContractError
from saga.runtime.saga_rows import SagaRow
from saga.runtime.saga_store import TABLES
from saga.runtime.settings import Settings
from saga.runtime.web.app import new_app
from saga.runtime.web.sagas import saga_blueprint
from support.api import Api, run_app

CARD, PIN = "4111-2222", "77-88-99"


class Paid(Event, topic="paid.events"):
    token: str


class Pay(Command, topic="paid.pay", event=Paid):
    card: str
    token: str = Field("", repr=False)


class Pin(BaseModel):
    digits: str = Field(repr=False, max_length=9)


class Buy(Message):
    token: str
    card: str = Field(repr=False, alias="theCard")
    goods: str
    limit: int | None = Field(None, repr=False)
    pins: list[Pin] = Field(default_factory=list)

    @field_validator("card")
    @classmethod
    def _is_one(cls, card: str) -> str:
        if not card.startswith("4"):
            raise ValueError(f"{card} is no card")
        return card

    @model_validator(mode="after")
    def _fits(self) -> "Buy":
        if self.goods == "none":
            raise PydanticCustomError("nothing", "nothing for {card}", {"card": self.card})
        if self.goods == "fault":
            raise ValueError(f"nothing for {self.card}")
        return self


SAGA = Saga("buy", Buy, [Step(Pay)], search=("goods",))
WISH = {"theCard": CARD, "goods": "tea", "limit": 5, "pins": [{"digits": PIN}]}


@pytest.fixture
def api(settings: Settings) -> Iterator[Api]:
    sagas = saga_blueprint(SAGA, assigned={"token": lambda: "t-99"}, send=lambda _: None)
    with run_app(new_app("shop", settings, TABLES, sagas)) as api:
        yield api


def test_saga_is_shown_without_its_secrets(api: Api) -> None:
    started = api.post("/sagas", WISH)
    assert started.json["input"] == {
        "theCard": "***",
        "goods": "tea",
        "limit": "***",
        "pins": [{"digits": "***"}],
    }
    assert started.json["token"] == "***"
    path = f"/sagas/{started.json['saga_id']}"
    answers = [started.text, api.get(path).text, api.get("/sagas").text]
    answers += [api.delete(path).text, api.get(f"{path}/events").text]
    for text in answers:
        assert not [secret for secret in (CARD, PIN, "t-99") if secret in text]
    given = json.loads(SagaRow.get().state)["input"]
    assert (given["card"], given["pins"]) == (CARD, [{"digits": PIN}])


def test_secret_that_was_not_given_is_null(api: Api) -> None:
    asked = {name: value for name, value in WISH.items() if name != "limit"}
    assert api.post("/sagas", asked).json["input"]["limit"] is None


@pytest.mark.parametrize(
    ("change", "errors"),
    [
        ({"theCard": "9-bad-one"}, {"card": "is not acceptable"}),
        ({"pins": [{"digits": "77-88-99-00"}]}, {"pins.0.digits": "is not acceptable"}),
        ({"goods": "none"}, {"body": "nothing for ***"}),
        ({"goods": "fault"}, {"body": "is not acceptable"}),
        ({"goods": 1}, {"goods": "Input should be a valid string"}),
        ({"colour": CARD}, {"colour": "Extra inputs are not permitted"}),
    ],
)
def test_refusal_quotes_no_secret(
    api: Api, change: dict[str, object], errors: dict[str, str]
) -> None:
    refused = api.post("/sagas", {**WISH, **change})
    assert refused.status_code == 422
    assert refused.json["errors"] == errors


def test_document_says_that_secrets_are_hidden(api: Api) -> None:
    schemas = api.get("/openapi.json").json["components"]["schemas"]
    assert schemas["Buy"]["properties"]["theCard"]["type"] == "string"
    told = schemas["BuyInput"]["properties"]
    assert told["limit"]["anyOf"] == [{"type": "string"}, {"type": "null"}]


def test_nobody_may_search_by_a_secret() -> None:
    saga = Saga("buy", Buy, [Step(Pay)], search=("card",))
    with pytest.raises(ContractError, match="the API of buy: nobody may search by card"):
        saga_blueprint(saga, assigned={"token": lambda: str(uuid4())})
