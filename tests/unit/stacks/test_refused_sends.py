"""Who gives up because a send was refused has had one refused, by a topic that took nothing."""

import random
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import peewee
import pytest
from uuid_utils.compat import uuid7

from saga.functions.order.messages import CompleteOrder, CreateOrder
from saga.runtime.clock import utcnow
from saga.runtime.database.schema import bind
from saga.runtime.dead_letter import SUFFIX, open_dead_letters, to_dead_letter, to_unsent_letter
from saga.runtime.envelope import Record
from saga.runtime.saga_host import NOT_SENT
from saga.runtime.saga_rows import SagaRow
from saga.runtime.saga_search import SearchRow, failure_keys
from saga.runtime.saga_state import Failure, SagaState, to_json
from saga.runtime.saga_store import TABLES
from saga.runtime.settings import Settings
from saga.stacks.refused_sends import Refuser, is_unsent

TOPIC = "user.pay"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def refuser() -> Refuser:
    return Refuser(Settings(), [CreateOrder.topic], ("127.0.0.1", 1), random.Random(1))


def case(saga_id: str, code: str) -> Any:
    return SimpleNamespace(state=SimpleNamespace(id=saga_id), code=code)


def letters(*topics: str, saga_id: str = "s") -> Any:
    made = [
        to_unsent_letter(Record(topic, saga_id.encode(), b"{}", []), "f", "too large", utcnow())
        for topic in topics
    ]
    return open_dead_letters(made)


def test_letter_of_what_was_refused_is_known_by_its_reason() -> None:
    record = Record(TOPIC, b"s", b"{}", [])
    read = open_dead_letters([to_dead_letter(record, "f", "can't be read", utcnow())])
    assert [is_unsent(letter) for letter in [*read, *letters(TOPIC)]] == [False, True]


def test_topics_that_are_spared_and_dead_letters_are_always_taken(refuser: Refuser) -> None:
    assert TOPIC in refuser._topics
    assert CreateOrder.topic not in refuser._topics
    assert not [topic for topic in refuser._topics if topic.endswith(SUFFIX)]


def test_limit_is_lowered_and_then_raised_until_that_is_heard(
    refuser: Refuser, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, str | None]] = []

    def limit(topic: str, size: str | None) -> bool:
        told.append((topic, size))
        return len(told) in (3, 6)  # the broker is away at first, and once more

    monkeypatch.setattr(refuser, "_limit", limit)
    refuser.seen["refused sends"] = 1
    monkeypatch.setattr(refuser.done, "wait", lambda _: True)
    refuser._own[CompleteOrder.topic] = "5000"
    refuser.happen()
    assert [size for _, size in told] == ["1", "1", "1", "5000", "5000", "5000"]
    assert {topic for topic, _ in told} == refuser._refusing == {CompleteOrder.topic}


def test_topic_that_a_killed_run_has_left_takes_messages_again(
    refuser: Refuser, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[tuple[str, str | None]] = []

    def limit(topic: str, size: str | None) -> bool:
        told.append((topic, size))
        return True

    monkeypatch.setattr(refuser, "_find_limits", lambda: True)
    monkeypatch.setattr(refuser, "_limit", limit)
    refuser._own |= {TOPIC: "1", "user.refund": "5000"}
    with refuser:
        pass
    assert told == [(TOPIC, None)]
    assert refuser._own == {"user.refund": "5000"}
    assert f"{TOPIC} took nothing" in caplog.text


def test_refused_sends_are_missing_until_a_saga_of_this_run_has_given_up(
    refuser: Refuser, sqlite: peewee.Database
) -> None:
    def give_up(saga_id: str, code: str) -> None:
        failure = Failure("complete_order", code, "")
        state = SagaState(saga_id, "place-order", "FAILED", {}, (), NOON, NOON, NOON)
        state = replace(state, failure=failure)
        row = {"id": saga_id, "name": state.name, "status": state.status, "state": to_json(state)}
        SagaRow.insert(row).execute()
        for key in failure_keys(state):
            SearchRow.insert(key=key, saga_id=saga_id).execute()

    bind(sqlite, TABLES)
    give_up("0", NOT_SENT)
    give_up(str(uuid7()), "cancelled")
    assert refuser.missing() == ["refused sends"]
    give_up(str(uuid7()), NOT_SENT)
    assert refuser.missing() == []


def test_who_gives_up_has_had_something_refused(refuser: Refuser) -> None:
    refuser._refusing.add(TOPIC)
    cases = [case("s", NOT_SENT), case("t", "")]
    assert list(refuser.judge(cases, letters(TOPIC))) == []
    assert len(list(refuser.judge(cases, []))) == 1
    assert len(list(refuser.judge(cases, letters(TOPIC, "product.release")))) == 1
    assert len(list(refuser.judge([case("u", NOT_SENT)], letters(TOPIC)))) == 1
