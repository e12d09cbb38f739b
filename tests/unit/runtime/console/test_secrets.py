"""No page shows what a saga's messages declare secret."""

import pytest
from pydantic import Field

from saga.runtime import Command, Event, Message, Saga, Step
from saga.runtime.clock import utcnow
from saga.runtime.console.mounting import mount
from saga.runtime.envelope import Reply
from saga.runtime.saga_store import TABLES, SagaStore, Start
from saga.runtime.settings import Settings
from saga.runtime.web.app import new_app
from saga.runtime.web.sagas import saga_blueprint
from support.api import run_app
from support.letters import DeadLetters

SAGA_ID = "00000000-0000-7000-8000-000000000001"


class Paid(Event, topic="shop.paid"):
    receipt: str = Field(repr=False)
    till: str


class Pay(Command, topic="shop.pay", event=Paid):
    card: str


class Buy(Message):
    card: str = Field(repr=False)
    goods: str


BUY = Saga("buy", Buy, [Step(Pay)], search=("goods",))
OTHER = Saga("other", Buy, [Step(Pay)])


@pytest.fixture
def api(tmp_path):
    settings = Settings(saga_data=tmp_path, kafka_bootstrap_servers="127.0.0.1:1")
    app = new_app("shop", settings, TABLES, saga_blueprint(BUY, send=lambda _: None))
    mount(app, settings)
    with run_app(app) as api:
        yield api


@pytest.fixture
def sagas(api):
    return SagaStore(api.app.ctx.threads.database)


def page(api, path):
    answer = api.get(f"/console{path}", described=False)
    assert answer.status == 200
    return answer.text


def test_saga_is_shown_without_its_secrets(api, sagas):
    sagas.start(BUY, [Start(SAGA_ID, Buy(card="4111-2222", goods="tea"))], utcnow())
    paid = '{"receipt": "r-77", "till": "three"}'
    sagas.advance(BUY, [Reply(SAGA_ID, "pay", "do", "done", 1, paid)], utcnow())
    told = page(api, f"/sagas/{SAGA_ID}")
    assert "tea" in told
    assert "three" in told
    assert "***" in told
    for text in (told, page(api, "/")):
        assert "4111-2222" not in text
        assert "r-77" not in text


def test_saga_that_nobody_here_declares_is_shown_without_its_values(api, sagas):
    sagas.start(OTHER, [Start(SAGA_ID, Buy(card="4111-2222", goods="tea"))], utcnow())
    told = page(api, f"/sagas/{SAGA_ID}")
    assert "4111-2222" not in told
    assert "tea" not in told


@pytest.mark.parametrize(
    ("topic", "body", "shown"),
    [
        ("shop.pay", '{"card":"4111-2222","goods":"tea"}', "tea"),
        ("shop.paid", '{"receipt":"4111-2222"}', "***"),
        ("shop.pay", '{"card":"4111-2222', "***"),
        ("nobody.knows", '{"card":"4111-2222"}', "***"),
    ],
)
def test_dead_letter_is_shown_without_what_is_secret(api, monkeypatch, topic, body, shown):
    dead = DeadLetters()
    dead.install(monkeypatch, api)
    told = page(api, f"/dead-letters/{dead.put(topic=topic, value=body.encode())}")
    assert "4111-2222" not in told
    assert shown in told
