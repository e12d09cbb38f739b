"""Waiting for a condition."""

import pytest

from saga.runtime.errors import SagaError
from saga.runtime.polling import poll_until, wait_until


def test_condition_is_asked_until_it_holds():
    answers = [False, False, True, False]
    assert poll_until(lambda: answers.pop(0), timeout=10, every=0)
    assert answers == [False]


@pytest.mark.parametrize(("given", "waited"), [({}, 0.05), ({"every": 0.2}, 0.2)])
def test_condition_is_asked_every_so_many_seconds(monkeypatch, given, waited):
    waits, answers = [], [False, False, True]
    monkeypatch.setattr("tenacity.nap.time.sleep", waits.append)
    assert poll_until(lambda: answers.pop(0), timeout=600, **given)
    assert waits == [waited] * 2


def test_condition_that_never_holds_is_given_up():
    assert not poll_until(lambda: False, timeout=0.02, every=0.01)


def test_condition_is_asked_at_least_once():
    assert poll_until(lambda: True, timeout=0)


def test_what_the_condition_raises_ends_the_waiting():
    def fail():
        raise LookupError("ended")

    with pytest.raises(LookupError, match="ended"):
        poll_until(fail, timeout=10)


def test_who_waits_in_vain_is_told_for_what_and_where_to_look():
    wait_until(lambda: True, "it is not there", timeout=0)
    told = r"^it is not there within 0\.01 s: see `saga ps` and `saga logs`$"
    with pytest.raises(SagaError, match=told):
        wait_until(lambda: False, "it is not there", timeout=0.01)
