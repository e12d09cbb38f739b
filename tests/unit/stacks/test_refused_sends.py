"""Who gives up because a send was refused has had one refused, by a topic that took nothing."""

import random
from types import SimpleNamespace
from typing import Any

import pytest

from saga.functions.order.messages import CreateOrder
from saga.runtime.clock import utcnow
from saga.runtime.dead_letter import SUFFIX, open_dead_letters, to_dead_letter, to_unsent_letter
from saga.runtime.envelope import Record
from saga.runtime.saga_host import NOT_SENT
from saga.runtime.settings import Settings
from saga.stacks.refused_sends import Refuser, is_unsent

TOPIC = "user.pay"


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
        return len(told) > 3  # the broker is away at first

    monkeypatch.setattr(refuser, "_limit", limit)
    monkeypatch.setattr(refuser.done, "wait", lambda _: True)
    refuser.happen()
    assert [size for _, size in told] == ["1", None, None, None]
    assert {topic for topic, _ in told} == refuser._refusing


def test_who_gives_up_has_had_something_refused(refuser: Refuser) -> None:
    refuser._refusing.add(TOPIC)
    cases = [case("s", NOT_SENT), case("t", "")]
    assert list(refuser.judge(cases, letters(TOPIC))) == []
    assert len(list(refuser.judge(cases, []))) == 1
    assert len(list(refuser.judge(cases, letters(TOPIC, "product.release")))) == 1
    assert len(list(refuser.judge([case("u", NOT_SENT)], letters(TOPIC)))) == 1
