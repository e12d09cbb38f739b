"""A saga that is started stays started: no error makes its client start it twice."""

import asyncio
import sqlite3
from types import SimpleNamespace

import peewee
import pytest

from saga.runtime import Command, Event, Message, Saga, Step, body, saga_queries
from saga.runtime.errors import BrokerUnavailable
from saga.runtime.saga_rows import SagaRow
from saga.runtime.saga_store import TABLES, SagaStore
from saga.runtime.web import admission
from saga.runtime.web.app import new_app
from saga.runtime.web.problems import Busy
from saga.runtime.web.saga_service import MANY, SagaService
from saga.runtime.web.sagas import saga_blueprint
from support.hanging_up import hang_up
from support.waiting import DEADLINE

AWAY = [peewee.OperationalError, peewee.InterfaceError, sqlite3.OperationalError]


class Begin(Message):
    goods: str


class Packed(Event, topic="parcels.events"):
    pass


class Pack(Command, topic="parcels.pack", event=Packed):
    goods: str


class Unpack(Command, topic="parcels.unpack", event=Packed):
    pass


REQUEST = b"""\
POST /sagas HTTP/1.1\r
Host: localhost\r
Content-Type: application/json\r
Content-Length: 16\r
\r
{"goods": "tea"}"""

PARCEL = Saga("parcel", start=Begin, steps=[Step(Pack, undo=Unpack)])


def parcels(settings, send):
    return new_app("parcels", settings, TABLES, saga_blueprint(PARCEL, send=send))


def fail(error):
    def failing(*_, **__):
        raise error

    return failing


@pytest.fixture
def api(settings, start):
    return start(parcels(settings, lambda _: None))


def test_saga_beyond_those_that_may_be_in_flight_is_refused_until_others_end(
    settings, start, monkeypatch
):
    monkeypatch.setattr(admission, "COUNTED_FOR", 0.0)
    few = settings.model_copy(update={"saga_in_flight": 2})
    api = start(parcels(few, lambda _: None))
    started = [api.post("/sagas", {"goods": goods}) for goods in ("tea", "milk", "sugar")]
    assert [answer.status_code for answer in started] == [202, 202, 503]
    assert started[2].headers["retry-after"] == "1"
    assert started[2].json["detail"] == "busy: 2 sagas are in flight"
    assert SagaRow.select().count() == 2
    SagaRow.update(due_at=None).where(SagaRow.id == started[0].json["saga_id"]).execute()
    assert api.post("/sagas", {"goods": "sugar"}).status_code == 202


@pytest.mark.parametrize("error", AWAY)
def test_database_away_while_a_client_waits_does_not_refuse_its_saga(api, monkeypatch, error):
    monkeypatch.setattr(saga_queries, "find", fail(error("gone")))
    answer = api.post("/sagas", {"goods": "tea"}, headers={"prefer": "wait=0"})
    assert (answer.status_code, answer.json["status"]) == (202, "RUNNING")
    assert [answer.json["saga_id"]] == [row.id for row in SagaRow.select()]


def test_busy_database_while_a_client_waits_does_not_refuse_its_saga(api, monkeypatch):
    monkeypatch.setattr(saga_queries, "find", fail(Busy("1000 requests")))
    answer = api.post("/sagas", {"goods": "tea"}, headers={"prefer": "wait=0"})
    assert (answer.status_code, answer.json["status"]) == (202, "RUNNING")


def test_database_away_before_the_row_is_stored_is_an_error(api, monkeypatch):
    """So a client may, and must, try again."""
    monkeypatch.setattr(body, "values", fail(peewee.OperationalError("gone")))
    assert api.post("/sagas", {"goods": "tea"}).status_code == 503
    assert SagaRow.select().count() == 0


@pytest.mark.parametrize("error", [BrokerUnavailable("away"), ValueError("no such mechanism")])
def test_command_that_cant_be_sent_does_not_refuse_its_saga(settings, start, error, caplog):
    api = start(parcels(settings, fail(error)))
    answer = api.post("/sagas", {"goods": "tea"})
    assert (answer.status_code, answer.json["status"]) == (202, "RUNNING")
    assert [answer.json["saga_id"]] == [row.id for row in SagaRow.select()]
    assert api.delete(answer.headers["location"]).status_code == 202
    assert ("Traceback" in caplog.text) is isinstance(error, ValueError)


@pytest.mark.parametrize("method", ["start", "cancel"])
def test_change_whose_client_hangs_up_is_sent_at_once(settings, start, method):
    """Its row is stored, so its command is sent, too, and waits for no sweep."""
    sent, told = asyncio.Event(), []

    def send(commands):
        told.extend((command.key, command.topic) for command in commands)
        sent.set()

    api = start(parcels(settings, send))
    request = REQUEST
    if method == "cancel":
        location = api.post("/sagas", {"goods": "tea"}).headers["location"]
        request = f"DELETE {location} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        sent.clear()
    hang_up(api, request, (SagaService, method), (SagaStore, method))
    api.run(asyncio.wait_for(sent.wait(), DEADLINE))
    [row] = SagaRow.select()
    topics = ["parcels.pack"] if method == "start" else ["parcels.pack", "parcels.unpack"]
    assert told == [(row.id, topic) for topic in topics]


@pytest.mark.parametrize(("clients", "is_busy"), [(MANY - 1, False), (MANY, True)])
def test_start_waits_for_company_where_many_wait_for_their_sagas(monkeypatch, clients, is_busy):
    service = SagaService(PARCEL)
    monkeypatch.setattr(service, "_waiting", SimpleNamespace(count=clients), raising=False)
    assert service._is_busy() is is_busy
