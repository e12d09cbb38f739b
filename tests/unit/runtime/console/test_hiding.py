"""What a message declares secret is on no page."""

from uuid import UUID

import pytest
from pydantic import BaseModel, Field

from saga.runtime import Command, Event, Message, Saga, Step
from saga.runtime.clock import utcnow
from saga.runtime.console.letters import body_of
from saga.runtime.console.mounting import mount
from saga.runtime.dead_letter import DeadLetter
from saga.runtime.envelope import Record, Reply
from saga.runtime.saga_rows import SagaRow
from saga.runtime.saga_store import TABLES, SagaStore, Start
from saga.runtime.settings import Settings
from saga.runtime.web.app import new_app
from saga.runtime.web.sagas import saga_blueprint
from support.api import run_app
from support.console import Console
from support.letters import DeadLetters

SECRET = "4111-1111"


class Card(BaseModel):
    number: str = Field(repr=False)
    holder: str


class Charged(Event, topic="bank.events"):
    receipt: str = Field(repr=False)
    amount: int


class Charge(Command, topic="bank.charge", event=Charged):
    card: Card
    pin: str = Field(repr=False)


class Thank(Command, topic="bank.thank", event=Charged):
    receipt: str


class Pay(Message):
    card: Card
    pin: str = Field(repr=False)
    user: str


pay = Saga("pay", Pay, [Step(Charge), Step(Thank)], search=("user",))


def letter(topic, body):
    record = Record(topic, b"", body, [])
    return DeadLetter(f"{topic}/0/1", record, "odd", "bank.charge", utcnow().isoformat(), 0)


@pytest.fixture(scope="module")
def console(tmp_path_factory):
    settings = Settings(
        saga_data=tmp_path_factory.mktemp("data"), kafka_bootstrap_servers="127.0.0.1:1"
    )
    app = new_app("bank", settings, TABLES, saga_blueprint(pay, send=lambda _: None))
    mount(app, settings)
    with run_app(app) as api:
        sagas = SagaStore(api.app.ctx.threads.database)
        message = Pay(card=Card(number=SECRET, holder="Ada"), pin=SECRET, user="u1")
        saga_id = str(UUID(int=1))
        sagas.start(pay, [Start(saga_id, message)], utcnow())
        told = f'{{"receipt": "{SECRET}", "amount": 5}}'
        sagas.advance(pay, [Reply(saga_id, "charge", "do", "done", 1, told)], utcnow())
        yield Console(api)


@pytest.mark.parametrize("path", ["/", "/?user=u1", f"/sagas/{UUID(int=1)}"])
def test_no_page_shows_a_secret(console, path):
    page = console.get(path)
    assert page.status == 200
    assert SECRET not in page.text
    assert "u1" in page.text


def test_page_of_a_saga_shows_the_rest(console):
    page = console.get(f"/sagas/{UUID(int=1)}").text
    assert "Ada" in page
    assert "&#34;amount&#34;: 5" in page
    assert "***" in page


def test_of_a_saga_that_is_not_declared_all_is_hidden(console):
    other = str(UUID(int=2))
    text = SagaRow.get().state.replace(str(UUID(int=1)), other).replace('"pay"', '"gone"')
    SagaRow.create(id=other, name="gone", status="COMPLETED", state=text)
    page = console.get(f"/sagas/{other}")
    assert page.status == 200
    for value in (SECRET, "Ada", "u1"):
        assert value not in page.text
    SagaRow.delete().where(SagaRow.id == other).execute()


def test_dead_letter_shows_no_secret(console, monkeypatch):
    body = f'{{"pin": "{SECRET}", "card": {{"number": "{SECRET}", "holder": "Ada"}}}}'.encode()
    dead = DeadLetters()
    dead.install(monkeypatch, console.api)
    page = console.get(f"/dead-letters/{dead.put(topic='bank.charge', value=body)}")
    assert page.status == 200
    assert SECRET not in page.text
    assert "Ada" in page.text


@pytest.mark.parametrize("body", [b"\xff secret", b'{"pin": "secret"'])
def test_body_that_cant_be_read_may_hold_secrets(body):
    assert body_of(letter("bank.charge", body), [pay]) == "***"


def test_body_on_an_unknown_topic_is_hidden():
    assert body_of(letter("other.topic", b"{}"), [pay]) == "***"
    assert body_of(letter("other.topic", None), [pay]) == ""
