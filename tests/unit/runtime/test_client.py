"""Sagas from Python: the client starts, finds, awaits, cancels and retries them."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import UUID

import peewee
import pytest

from saga.functions.orchestrator.place_order import PlaceOrder, place_order
from saga.runtime import SagaClient, SagaError, saga_queries, utcnow
from saga.runtime.envelope import Reply
from saga.runtime.errors import BrokerUnavailable, Conflict, ContractError, NotFound, NotRunning
from saga.runtime.kafka import producer as kafka
from saga.runtime.saga_rows import SagaRow
from saga.runtime.saga_state import to_json
from saga.runtime.saga_store import SagaStore
from saga.runtime.settings import Settings

ORDER = PlaceOrder(order_id=UUID(int=1), user_id=3, product_id=4, quantity=5)
OTHER = ORDER.model_copy(update={"quantity": 6})


class Broker:
    """Takes the place of the producer; `made` counts the producers."""

    def __init__(self):
        self.sent, self.made, self.closed, self.away = [], 0, 0, False

    def producer(self, settings):
        self.made += 1
        return self

    def send(self, commands):
        if self.away:
            raise BrokerUnavailable("away")
        self.sent += [command.id.partition("/")[2] for command in commands]

    def close(self):
        self.closed += 1


@pytest.fixture
def broker(monkeypatch):
    broker = Broker()
    monkeypatch.setattr(kafka, "Producer", broker.producer)
    return broker


@pytest.fixture
def settings(tmp_path):
    return Settings(saga_data=tmp_path, kafka_bootstrap_servers="127.0.0.1:1")


@pytest.fixture
def client(broker, settings):
    with SagaClient(settings) as client:
        yield client


def reply(client, state, step, outcome="done", action="do"):
    """Answer a saga's command, as its host hears it."""
    data = '{"order_id": "00000000-0000-0000-0000-000000000001", "total": "1.00", "code": "x"}'
    answer = Reply(state.id, step, action, outcome, 1, data)
    SagaStore(client._database).advance(place_order, [answer], utcnow())


def test_started_saga_has_its_first_command_sent(client, broker):
    state = client.start(place_order, ORDER)
    assert (state.status, state.input["quantity"]) == ("RUNNING", 5)
    assert broker.sent == ["create_order/do"]
    assert client.find(state.id) == state


def test_broker_away_costs_no_saga(client, broker):
    broker.away = True
    state = client.start(place_order, ORDER, key="k")
    assert client.start(place_order, ORDER, key="k") == state
    assert client.find(state.id).status == "RUNNING"


@pytest.mark.parametrize(
    "wrong",
    [
        {"kafka_security_protocol": "nonsense"},
        {"kafka_security_protocol": "ssl", "kafka_ssl_ca_location": "/nowhere"},
    ],
)
def test_producer_that_cant_be_made_costs_no_saga(settings, wrong):
    with SagaClient(settings.model_copy(update=wrong)) as client:
        state = client.start(place_order, ORDER)
        assert client.find(state.id) == state
        assert client.cancel(state.id).status == "COMPENSATING"


@pytest.mark.parametrize("key", ["", "k" * 256, "a\0b", "a\nb", "\udcff"])
def test_key_that_cant_be_stored_is_refused_and_starts_nothing(client, key):
    with pytest.raises(ContractError, match="give 1 to 255 printable characters"):
        client.start(place_order, ORDER, key)
    assert saga_queries.look(client._database, 1) == ([], None)


@pytest.mark.parametrize("key", ["k" * 255, "Bestellung 7, für Zoë"])
def test_key_may_be_any_text(client, key):
    assert client.start(place_order, ORDER, key) == client.start(place_order, ORDER, key)


def test_key_with_another_message_is_a_conflict(client):
    client.start(place_order, ORDER, key="k")
    with pytest.raises(Conflict, match="'k' was used with another body") as refused:
        client.start(place_order, OTHER, key="k")
    assert refused.value.code == "key_reused"


def test_wait_returns_when_the_saga_has_ended(client):
    state = client.start(place_order, ORDER)
    ending = threading.Timer(0.05, lambda: reply(client, state, "create_order", "rejected"))
    ending.start()
    assert client.wait(state.id, timeout=240.0).status == "COMPENSATED"
    ending.join()


def test_wait_returns_the_saga_as_it_is_when_time_is_up(client):
    state = client.start(place_order, ORDER)
    assert client.wait(state.id, timeout=0.01) == state


def away(monkeypatch, times):
    """Let the database be away so many times when a saga is looked for."""
    find, left = saga_queries.find, [peewee.OperationalError("away")] * times

    def find_later(*arguments):
        if left:
            raise left.pop()
        return find(*arguments)

    monkeypatch.setattr(saga_queries, "find", find_later)


def test_wait_outlives_a_database_that_is_away_meanwhile(client, monkeypatch):
    state = client.start(place_order, ORDER)
    reply(client, state, "create_order", "rejected")
    away(monkeypatch, times=3)
    assert client.wait(state.id, timeout=240.0).status == "COMPENSATED"


def test_wait_raises_what_the_database_says_when_time_is_up(client, monkeypatch):
    state = client.start(place_order, ORDER)
    away(monkeypatch, times=10_000)
    with pytest.raises(peewee.OperationalError, match="away"):
        client.wait(state.id, timeout=0.01)


def test_cancelled_saga_undoes(client, broker):
    state = client.start(place_order, ORDER)
    assert client.cancel(state.id).status == "COMPENSATING"
    assert broker.sent == ["create_order/do", "create_order/undo"]


def test_failed_saga_is_retried(client, broker):
    state = client.start(place_order, ORDER)
    client.cancel(state.id)
    reply(client, state, "create_order", "rejected", "undo")
    assert client.find(state.id).status == "FAILED"
    assert client.retry(state.id).status == "COMPENSATING"
    assert broker.sent[-1] == "create_order/undo"


def test_undo_done_by_hand_compensates(client, broker):
    state = client.start(place_order, ORDER)
    client.cancel(state.id)
    reply(client, state, "create_order", "rejected", "undo")
    with pytest.raises(Conflict, match="no failed undo of 'process_payment'"):
        client.skip(state.id, "process_payment", "Ada", "paid in cash")
    assert client.skip(state.id, "create_order", "Ada", "torn up").status == "COMPENSATED"
    assert client.find(state.id).steps[0].error.message == "Ada: torn up"
    assert broker.sent == ["create_order/do", "create_order/undo"]


def write(client, state, text):
    row = SagaRow.update(state=text).where(SagaRow.id == state.id)
    row.execute(client._database)


def test_saga_that_cant_be_read_is_found_and_taken_up_when_it_can(client):
    state = client.start(place_order, ORDER)
    write(client, state, "{}")
    assert client.wait(state.id, timeout=0.0).status == "UNREADABLE"
    with pytest.raises(Conflict, match="can't be read"):
        client.retry(state.id)
    reply(client, state, "create_order")
    write(client, state, to_json(state))
    assert client.retry(state.id).status == "RUNNING"
    assert client.find(state.id) == state


@pytest.mark.parametrize("call", ["find", "cancel", "retry"])
def test_unknown_saga_is_not_found(client, call):
    with pytest.raises(NotFound):
        getattr(client, call)("nobody")


def test_threads_share_one_connection_and_one_producer(client, broker):
    connections = set()

    def start(number):
        state = client.start(place_order, ORDER, key=str(number % 50))
        connections.add(id(client._database.connection()))
        return state.id

    with ThreadPoolExecutor(8) as threads:
        started = list(threads.map(start, range(200)))
    assert len(set(started)) == 50
    assert (len(connections), broker.made) == (1, 1)


def test_no_model_is_bound_anew(client, sqlite):
    before = SagaRow._meta.database
    client.start(place_order, ORDER)
    assert SagaRow._meta.database is before


def test_client_closes_its_producer_and_its_connection(settings, broker):
    with SagaClient(settings) as client:
        client.start(place_order, ORDER)
    assert broker.closed == 1
    assert client._database.is_closed()
    with pytest.raises(SagaError, match="this client is closed"):
        client.start(place_order, ORDER)


def test_service_that_hosts_no_saga_is_told(settings):
    with pytest.raises(ContractError, match="these host some: orchestrator"):
        SagaClient(settings, service="user")


def test_without_a_broker_no_client_is_made(tmp_path, monkeypatch):
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    with pytest.raises(NotRunning, match="no system runs"):
        SagaClient(Settings(saga_data=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_saga_that_the_service_does_not_host_is_not_started(client, broker):
    stranger = replace(place_order, name="stranger")
    with pytest.raises(ContractError, match="orchestrator hosts no saga 'stranger'"):
        client.start(stranger, ORDER)
    assert broker.sent == []


def test_saga_that_was_started_already_makes_no_producer(settings, broker):
    for _ in range(2):
        with SagaClient(settings) as client:
            client.start(place_order, ORDER, key="k")
    assert broker.made == 1


def test_a_saga_belongs_to_a_trace(client, broker):
    started = client.start(place_order, ORDER)
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", started.traceparent)
