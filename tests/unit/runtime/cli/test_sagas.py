"""What a person does about a saga that waits for one."""

import io
import json
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from pydantic import Field, create_model

from saga.functions.orchestrator.place_order import PlaceOrder, place_order
from saga.runtime import Command, Event, Message, Saga, SagaClient, Step
from saga.runtime.cli import sagas, terminal
from saga.runtime.cli.terminal import Terminal
from saga.runtime.clock import utcnow
from saga.runtime.envelope import Reply
from saga.runtime.errors import Conflict
from saga.runtime.kafka import producer
from saga.runtime.saga_host import HostedSaga
from saga.runtime.saga_rows import SagaRow
from saga.runtime.saga_state import SagaState
from saga.runtime.saga_store import Start
from saga.runtime.settings import Settings
from saga.runtime.system.stack import Stack

ORDER = PlaceOrder(order_id=UUID(int=1), user_id=3, product_id=4, quantity=5)
RECEIPT = '{"receipt": "r-77"}'
REFUSAL = '{"code": "no_cancel", "message": "not today"}'


class Broker:
    """Takes the place of the producer."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def producer(self, _: Settings) -> "Broker":
        return self

    def send(self, commands: Any) -> None:
        self.sent += [command.id.partition("/")[2] for command in commands]

    def close(self) -> None: ...


@pytest.fixture
def broker(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Broker:
    broker = Broker()
    monkeypatch.setattr(producer, "Producer", broker.producer)
    monkeypatch.setenv("SAGA_DATA", str(tmp_path))
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    return broker


@pytest.fixture
def failed(broker: Broker) -> SagaState:
    """A saga whose undo has failed for good."""
    with SagaClient() as client:
        state = client.start(place_order, ORDER)
        client.cancel(state.id)
        refused = Reply(state.id, "create_order", "undo", "rejected", 1, REFUSAL)
        client._store.advance(place_order, [refused], utcnow())
    broker.sent.clear()
    return state


def test_failed_saga_is_retried(
    failed: SagaState, broker: Broker, capsys: pytest.CaptureFixture[str]
) -> None:
    sagas.retry(failed.id)
    assert capsys.readouterr().out == f"place-order {failed.id} is COMPENSATING\n"
    assert broker.sent == ["create_order/undo"]
    with pytest.raises(Conflict):
        sagas.retry(failed.id)


def test_input_is_told_as_it_was_sent(
    failed: SagaState, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {**ORDER.model_dump(mode="json"), "user_id": 3}
    camel = create_model("Camel", __base__=PlaceOrder, user_id=(int, Field(alias="userId")))
    for start, alias in ((place_order.start, "user_id"), (camel, "userId")):
        hosted = HostedSaga("orchestrator.place_order", replace(place_order, start=start))
        monkeypatch.setattr(Stack, "load_entry", lambda *_, hosted=hosted: hosted)
        sagas.show(failed.id, as_json=True)
        shown = json.loads(capsys.readouterr().out)
        history = shown.pop("history")
        sagas.sagas(limit=9, as_json=True)
        assert json.loads(capsys.readouterr().out) == [shown]
        wanted = {alias if name == "user_id" else name: value for name, value in names.items()}
        assert shown["input"] == wanted
        assert shown["context"]["user_id"] == 3
        first = {"name": "create_order", "status": "RUNNING", "code": ""}
        began = shown["created_at"]
        assert history[0] == {"at": began, "status": "RUNNING", "steps": [first], "parts": None}


def test_saga_whose_code_is_broken_is_told_without_its_values(
    failed: SagaState, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows which of them are secret."""
    monkeypatch.setattr(Stack, "load_entry", lambda *_: 1 / 0)
    sagas.show(failed.id, as_json=True)
    shown = json.loads(capsys.readouterr().out)
    assert shown["status"] == "FAILED"
    assert {*shown["input"].values()} == {"***"}


class Paid(Event, topic="secrets.events"):
    receipt: str = Field(repr=False)


class Pay(Command, topic="secrets.pay", event=Paid):
    card: str


class Refund(Command, topic="secrets.refund", event=Paid):
    receipt: str | None


class Buy(Message):
    card: str = Field(repr=False, alias="theCard")
    goods: str


class Ship(Command, topic="secrets.ship", event=Paid):
    goods: str


BUY = Saga("buy", Buy, [Step(Pay, undo=Refund), Step(Ship)])


def test_secret_of_a_saga_is_never_told(
    broker: Broker, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hosted = HostedSaga("orchestrator.buy", BUY)
    monkeypatch.setattr(Stack, "load_entry", lambda *_: hosted)

    def told(saga_id: str) -> str:
        sagas.show(saga_id)
        sagas.show(saga_id, as_json=True)
        sagas.sagas(limit=9, as_json=True)
        return capsys.readouterr().out

    with SagaClient() as client:
        begin = Start(str(UUID(int=7)), Buy(theCard="4111-2222", goods="tea"))
        client._store.start(BUY, [begin], utcnow())
        shown = [told(begin.saga_id)]
        client._store.advance(
            BUY, [Reply(begin.saga_id, "pay", "do", "done", 1, RECEIPT)], utcnow()
        )
        shown.append(told(begin.saga_id))
        client._store.cancel(BUY, begin.saga_id, utcnow())
        shown.append(told(begin.saga_id))
    for text, steps in zip(shown, ("RUNNING", "DONE", "UNDOING"), strict=True):
        assert steps in text
        assert '"theCard": "***"' in text
        assert '"goods": "tea"' in text
        assert "4111-" not in text
        assert "r-77" not in text
    assert shown[0].count('\\"card\\":\\"***\\"') == 2
    assert shown[1].count('"receipt": "***"') == 4


def test_saga_that_cant_be_read_is_listed_with_the_reason(
    failed: SagaState, capsys: pytest.CaptureFixture[str]
) -> None:
    row = SagaRow.update(state="{}").where(SagaRow.id == failed.id)
    row.execute(sagas.open_sagas(None))
    for status in (None, "unreadable"):
        sagas.sagas(limit=9, status=status)
        told = " ".join(capsys.readouterr().out.split())
        assert f"{failed.id} UNREADABLE" in told
    sagas.show(failed.id)
    assert "unreadable: can't be read: id: Field required" in capsys.readouterr().out
    with pytest.raises(Conflict, match="can't be read: id: Field required"):
        sagas.retry(failed.id)


def test_undo_done_by_hand_is_shown_with_who_and_why(
    failed: SagaState, broker: Broker, capsys: pytest.CaptureFixture[str]
) -> None:
    sagas.skip(failed.id, "create_order", by="Ada", reason="torn up [by hand]")
    assert capsys.readouterr().out == f"place-order {failed.id} is COMPENSATED\n"
    sagas.show(failed.id)
    assert "create_order UNDONE (skipped: Ada: torn up [by hand])" in capsys.readouterr().out
    assert broker.sent == []


def test_ids_states_and_times_are_whole_in_80_columns(
    failed: SagaState, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.StringIO()
    monkeypatch.setattr(terminal, "console", Terminal(file=out, width=80, markup=False))
    sagas.sagas()
    heading, row = out.getvalue().splitlines()
    assert heading.split() == ["SAGA", "STATUS", "STARTED", "NAME", "WHY"]
    assert row.split()[:3] == [failed.id, "FAILED", terminal.moment(failed.created_at)]
    assert row.index(" place-order") < 80


def test_why_says_what_helps(failed: SagaState, capsys: pytest.CaptureFixture[str]) -> None:
    sagas.why(failed.id)
    told = capsys.readouterr().out
    assert "The undo of create_order has failed: no_cancel: not today." in told
    assert f"`saga retry {failed.id}`" in told


@pytest.mark.usefixtures("broker")
def test_watch_shows_what_is_new_until_the_saga_has_ended(
    failed: SagaState, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each transition is one line, where the output is no terminal."""
    sagas.retry(failed.id)
    capsys.readouterr()

    def answer(_: float) -> None:
        with SagaClient() as client:
            undone = Reply(failed.id, "create_order", "undo", "done", 2, "{}")
            client._store.advance(place_order, [undone], utcnow())

    monkeypatch.setattr("time.sleep", answer)
    sagas.show(failed.id, watch=True)
    lines = capsys.readouterr().out.splitlines()
    assert [told for told in lines if "COMPENSATED" in told] == lines[-1:]
    assert len(lines) == len(set(lines))
