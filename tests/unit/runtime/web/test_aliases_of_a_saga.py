"""A saga whose start message has aliases: a client is shown what it has sent."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from saga.runtime import Command, Event, Message, Saga, Step
from saga.runtime.saga_rows import SagaRow
from saga.runtime.saga_store import TABLES
from saga.runtime.settings import Settings
from saga.runtime.web.app import new_app
from saga.runtime.web.payload import Body
from saga.runtime.web.sagas import saga_blueprint
from support.api import Api, empty, run_app


class Camel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)


class Sent(Event, topic="post.events"):
    pass


class SendParcel(Command, topic="post.send", event=Sent):
    parcel_id: str


class Item(Camel):
    net_weight: int


class Dispatch(Camel, Message):
    parcel_id: str
    sent_to: str = Field(alias="to")
    all_items: list[Item]


class Narrow(Body):
    sent_to: str
    all_items: list[Item]


SAGA = Saga("dispatch", start=Dispatch, steps=[Step(SendParcel)], search=("sent_to",))
WISH = {"to": "Ada", "allItems": [{"netWeight": 3}]}
BY_NAME = {"sent_to": "Ada", "all_items": [{"net_weight": 3}]}


@pytest.fixture(scope="module")
def shared_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    settings = Settings(saga_data=tmp_path_factory.mktemp("data"))
    made: dict[str, Any] = {"parcel_id": lambda: uuid4().hex}
    app = new_app(
        "post",
        settings,
        TABLES,
        saga_blueprint(SAGA, assigned=made, send=lambda _: None),
    )
    with run_app(app) as api:
        yield api


@pytest.fixture
def api(shared_api: Api) -> Api:
    empty(shared_api, TABLES)
    return shared_api


def test_input_is_shown_as_it_was_sent(api: Api) -> None:
    started = api.post("/sagas", WISH).json
    assert started["input"] == WISH
    assert started["parcel_id"]
    assert api.get(f"/sagas/{started['saga_id']}").json == started
    assert api.get("/sagas").json == [started]
    assert api.get("/sagas?sent_to=Ada").json == [started]


@pytest.mark.parametrize("kept", [BY_NAME, {"all_items": [{"net_weight": "heavy"}]}])
def test_row_of_another_version_is_shown_under_aliases_as_far_as_they_are_known(
    api: Api, kept: dict[str, Any]
) -> None:
    saga_id = api.post("/sagas", WISH).json["saga_id"]
    row = SagaRow.get_by_id(saga_id)
    state = json.dumps({**json.loads(row.state), "input": kept})
    SagaRow.update(state=state).where(SagaRow.id == saga_id).execute()
    shown = api.get(f"/sagas/{saga_id}", described=False).json["input"]
    assert shown == {"to": kept.get("sent_to"), "allItems": kept["all_items"]}


def test_body_of_ones_own_is_shown_as_that_was_sent(tmp_path: Any) -> None:
    made: dict[str, Any] = {"parcel_id": lambda: "1"}
    sagas = saga_blueprint(SAGA, body=Narrow, assigned=made, send=lambda _: None)
    wish = {"sent_to": "Ada", "all_items": [{"netWeight": 3}]}
    with run_app(new_app("post", Settings(saga_data=tmp_path), TABLES, sagas)) as api:
        assert api.post("/sagas", wish).json["input"] == wish
