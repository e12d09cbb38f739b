"""What of a sweep has still to be sent, and when it is sent again."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import peewee
import pytest

from saga.runtime import Command, Event, Message, Saga, Step, saga_queries, transition
from saga.runtime.database.connection import transaction
from saga.runtime.database.schema import bind
from saga.runtime.saga_rows import SagaRow
from saga.runtime.saga_state import SagaState
from saga.runtime.saga_store import TABLES, SagaStore, Start
from saga.runtime.unsent import is_early, marked, resend

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Begin(Message):
    pass


class Made(Event, topic="unsent.events"):
    pass


class Make(Command, topic="unsent.make", event=Made):
    pass


SAGA = Saga("unsent", start=Begin, steps=[Step(Make, timeout=0.5)])
STATE, [COMMAND] = transition.start(SAGA, "a", Begin(), NOW)
ENDED = replace(STATE, status="COMPLETED", awaiting=False, due_at=None)


def test_command_is_sent_again_as_it_is() -> None:
    later = NOW + timedelta(seconds=2)
    assert resend(SAGA, STATE, later) == (STATE, [COMMAND._replace(time=later.isoformat())])


@pytest.mark.parametrize(
    "state",
    [
        ENDED,
        replace(STATE, awaiting=False),  # its next attempt has its own time
        replace(STATE, steps=(replace(STATE.steps[0], body=None),)),  # as version 0.1 has it
    ],
)
def test_saga_without_a_command_to_answer_is_sent_none(state: SagaState) -> None:
    assert resend(SAGA, state, NOW) == (state, [])


def test_saga_is_early_where_its_mark_alone_is_due() -> None:
    assert is_early(marked(NOW), STATE, NOW)
    assert not is_early(NOW, STATE, NOW)
    assert not is_early(marked(NOW), STATE, NOW + timedelta(minutes=1))
    assert not is_early(marked(NOW), ENDED, NOW)


def test_saga_that_is_due_before_a_mark_needs_none(sqlite: peewee.Database) -> None:
    bind(sqlite, TABLES)
    store = SagaStore(sqlite)
    store.start(SAGA, [Start("a", Begin())], NOW)
    with transaction(sqlite):
        assert store.sweep(SAGA, NOW + timedelta(seconds=0.5))
    state = saga_queries.find(sqlite, "a")
    assert SagaRow.get_by_id("a").due_at == state.due_at == NOW + timedelta(seconds=1.5)
