"""A row that is edited by hand ends as it has to, and is mended then; others are left alone."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from saga.functions.product.store import Product
from saga.functions.user.store import User
from saga.runtime.database.connection import connect
from saga.runtime.database.schema import bind
from saga.runtime.problem import INVALID_COMMAND
from saga.runtime.saga_rows import SagaRow
from saga.runtime.saga_state import SagaState, StepState, from_json, to_json
from saga.runtime.testing.request import Request
from saga.stacks import edited_rows
from saga.stacks.edited_rows import NOT_UNDONE, UNMADE, Editor

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
INPUT = {"order_id": "o", "product_id": 7}


def put(status: Any, step: Any) -> None:
    """Say where the saga is now."""
    steps = (StepState("create_order", step),)
    text = to_json(SagaState("s", "place-order", status, state().input, steps, NOON, NOON, NOON))
    SagaRow.update(state=text).execute()


def state() -> SagaState:
    return from_json(SagaRow.get().state)


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Editor]:
    """An editor, and a saga that waits for its first reply: the one that is started each time."""
    database = connect(f"sqlite:///{tmp_path}/all.db")
    tables = [SagaRow, User, Product]
    with database.bind_ctx(tables):
        bind(database, tables)
        text = to_json(SagaState("s", "place-order", "RUNNING", INPUT, (), NOON, NOON, NOON))
        SagaRow.insert(id="s", name="place-order", status="RUNNING", state=text).execute()
        put("RUNNING", "RUNNING")
        made = Editor(("127.0.0.1", 1), random.Random(1))
        monkeypatch.setattr(made.buyer._client, "place", lambda request: request.told.append("s"))
        yield made
        database.close()


def test_kinds_are_met_one_after_the_other(editor: Editor) -> None:
    editor.happen()
    assert editor.missing() == [NOT_UNDONE]
    assert state().input == INPUT | {"product_id": "none"}
    editor.happen()
    assert editor.missing() == []
    assert state().input["order_id"] == "none"
    assert len(editor.buyer.requests) == 2


def test_saga_that_has_gone_on_is_left_alone(editor: Editor) -> None:
    put("RUNNING", "DONE")
    editor.happen()
    assert (state().input, editor.edited, len(editor.missing())) == (INPUT, {}, 2)


def test_row_that_somebody_else_has_spoilt_is_left_alone(editor: Editor) -> None:
    SagaRow.update(state="{}").execute()
    editor.happen()
    assert (SagaRow.get().state, editor.edited) == ("{}", {})


def test_row_is_mended_once_its_saga_has_ended_and_then_retried(
    editor: Editor, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(
        editor.buyer.calls, "last", lambda *call: asked.append((call, state().input))
    )
    editor.happen()
    put("COMPENSATING", "UNDOING")
    with monkeypatch.context() as soon:
        soon.setattr(edited_rows, "MEND_TIMEOUT", 0.05)
        with pytest.raises(Exception, match="the row of saga s can't be mended"):
            editor.settle()
    put("FAILED", "UNDO_FAILED")
    editor.settle()
    assert asked == [(("POST", "/sagas/s/retry", (202, 409)), INPUT)]


def case(saga_id: str, code: str, *path: str) -> Any:
    moments = [SimpleNamespace(status=status) for status in path]
    named = SimpleNamespace(id=saga_id)
    return SimpleNamespace(request=Request({}), state=named, code=code, path=moments)


def test_who_was_edited_has_to_give_up_and_nobody_else(editor: Editor) -> None:
    editor.edited = {"s": UNMADE, "t": NOT_UNDONE}
    edited = case("s", INVALID_COMMAND, "COMPENSATED")
    failed = case("t", INVALID_COMMAND, "FAILED", "COMPENSATED")
    late = case("t", "deadline_exceeded", "COMPENSATED")
    assert list(editor.judge([edited, late, case("u", "")])) == []
    assert editor.missing() == [NOT_UNDONE]
    assert list(editor.judge([edited, failed])) == []
    assert editor.missing() == []
    assert len(list(editor.judge([case("u", INVALID_COMMAND)]))) == 1
    assert len(list(editor.judge([case("s", "")]))) == 1
    assert len(list(editor.judge([case("s", "not_sent")]))) == 1
    assert len(list(editor.judge([case("t", INVALID_COMMAND, "COMPENSATED")]))) == 1
