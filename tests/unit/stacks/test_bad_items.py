"""Rows that are spoilt come back as they were, and junk is known by what it is."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from saga.functions.orchestrator.place_order import place_order
from saga.functions.product.messages import ReserveProduct
from saga.runtime.database.connection import connect
from saga.runtime.database.schema import bind
from saga.runtime.envelope import decode, read_command_id
from saga.runtime.saga_rows import SagaRow
from saga.runtime.saga_state import SagaState, from_json, to_json
from saga.stacks import bad_items
from saga.stacks.bad_items import JUNK, Spoiler

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
WHOLE = to_json(SagaState("s", "place_order", "RUNNING", {}, (), NOON, NOON, NOON))


@pytest.fixture
def row(tmp_path: Path) -> Iterator[SagaRow]:
    database = connect(f"sqlite:///{tmp_path}/sagas.db")
    with database.bind_ctx([SagaRow]):
        bind(database, [SagaRow])
        SagaRow.insert(id="s", name="place_order", status="RUNNING", state=WHOLE).execute()
        database.close()
        yield SagaRow.get()
        database.close()


def spoiler(monkeypatch: pytest.MonkeyPatch, meanwhile: object) -> Spoiler:
    made = Spoiler(("127.0.0.1", 1), random.Random(1))
    monkeypatch.setattr(made.done, "wait", meanwhile)
    return made


def test_spoilt_row_can_not_be_read_and_is_mended(
    row: SagaRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    spoils = spoiler(monkeypatch, lambda _: seen.append(SagaRow.get().state))
    for _ in range(20):
        spoils.happen()
    for text in seen:
        with pytest.raises(ValidationError):
            from_json(text)
    assert len(set(seen)) > 5
    assert SagaRow.get().state == row.state
    assert spoils.spoilt == ["s"] * 20


def test_spoilt_row_that_is_written_over_is_told(
    row: SagaRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bad_items, "MEND_TIMEOUT", 0.05)
    spoils = spoiler(monkeypatch, lambda _: SagaRow.update(state="{}").execute())
    with pytest.raises(Exception, match=f"saga {row.id}: its row was written over"):
        spoils.happen()


def test_row_of_an_ended_saga_is_left_alone(row: SagaRow, monkeypatch: pytest.MonkeyPatch) -> None:
    SagaRow.update(status="COMPLETED").where(SagaRow.id == row.id).execute()
    SagaRow._meta.database.close()
    spoils = spoiler(monkeypatch, pytest.fail)
    spoils.happen()
    assert spoils.spoilt == []


def test_what_was_set_aside_is_retried_until_it_goes_on(
    row: SagaRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def retried(*call: object) -> None:
        asked.append(call)
        SagaRow.update(status="RUNNING").execute()

    SagaRow.update(status="UNREADABLE").execute()
    spoils = spoiler(monkeypatch, pytest.fail)
    spoils.spoilt = [row.id]
    monkeypatch.setattr(spoils._calls, "last", retried)
    spoils.settle()
    assert asked == [("POST", "/sagas/s/retry", (202, 409))]


def test_addressed_junk_is_a_command_of_nobodys_saga() -> None:
    record = bad_items._addressed(ReserveProduct)
    assert (record.topic, record.key, record.value) == (ReserveProduct.topic, JUNK, JUNK)
    _, step, action = read_command_id(decode(record._replace(value=None)).id)
    assert (step, action) == (place_order.steps[1].name, "do")
