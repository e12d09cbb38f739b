"""Waiting for a condition."""

import pytest

from saga.runtime.polling import poll_until


def test_condition_is_asked_until_it_holds():
    answers = [False, False, True, False]
    assert poll_until(lambda: answers.pop(0), timeout=10, every=0)
    assert answers == [False]


def test_condition_that_never_holds_is_given_up():
    assert not poll_until(lambda: False, timeout=0.02, every=0.01)


def test_condition_is_asked_at_least_once():
    assert poll_until(lambda: True, timeout=0)


def test_what_the_condition_raises_ends_the_waiting():
    def fail():
        raise LookupError("ended")

    with pytest.raises(LookupError, match="ended"):
        poll_until(fail, timeout=10)
