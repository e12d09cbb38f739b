"""Who is told what, and that of each record it is told once."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import peewee
import pytest

from saga.runtime import Rejected
from saga.runtime.clock import microseconds
from saga.runtime.envelope import decode
from saga.runtime.observer import Observer
from saga.runtime.stamps import stamped


class Told(Observer):
    """Keeps what it is told, and what it was around."""

    def __init__(self):
        self.outcomes, self.moments, self.around_now, self.called = [], [], None, []

    @contextmanager
    def around(self, command) -> Iterator[None]:
        self.around_now = command.id
        yield
        self.around_now = None

    def handled(self, handled):
        self.outcomes += [one.outcome for one in handled]
        self.moments += [(one.received, one.began, one.ended) for one in handled]


@pytest.fixture
def told(bakery):
    bakery.baker.observer = told = Told()
    return told


def test_each_record_that_was_received_is_told_once(bakery, told):
    """Also where a handler's fault has the whole batch done again."""
    bakery.before = [lambda: None, lambda: None, refuse]
    records = [bakery.bake_record(str(n), str(n)) for n in range(3)]
    broken = bakery.bake_record("x", "x")._replace(value=b"{")
    headless = bakery.bake_record("y", "y")._replace(headers=[])
    bakery.baker.process([*records, records[0], broken, headless])
    assert told.outcomes == ["done", "done", "rejected", "duplicate", "dead", "dead"]
    assert {*told.moments} == {(microseconds(bakery.clock()),) * 3}


def test_what_came_of_a_failing_handler_is_told_once(bakery, told):
    bakery.fails_next(ValueError())
    bakery.baker.process([bakery.bake_record("a", "a"), bakery.bake_record("b", "b")])
    assert told.outcomes == ["failed", "done"]


def test_what_is_rolled_back_is_not_told(bakery, told, monkeypatch):
    """Only once the database has it."""

    def away(*_):
        raise peewee.OperationalError("database is locked")

    bakery.baker.retrying = bakery.baker.retrying.copy(stop=lambda _: True)
    monkeypatch.setattr("saga.runtime.inbox.save", away)
    with pytest.raises(peewee.OperationalError):
        bakery.baker.process([bakery.bake_record()])
    assert told.outcomes == []


def test_observer_is_around_the_handler(bakery, told):
    bakery.before = [lambda: told.called.append(told.around_now)]
    bakery.baker.process([bakery.bake_record()])
    assert (told.called, told.around_now) == (["s/bake/do"], None)


@pytest.mark.parametrize("fails", [False, True])
def test_handler_is_told_with_its_own_time(bakery, told, fails):
    """The time that it took the first time, where the batch is done again for its fault."""
    start = bakery.clock()
    bakery.clock = clock = Ticking(start)
    bakery.before = [clock.later]
    if fails:
        bakery.fails_next(ValueError())
    bakery.baker.process([bakery.bake_record()])
    [(received, began, ended)] = told.moments
    assert microseconds(start) < received < began
    assert ended - began > 10_000_000


def test_reply_carries_the_moments_of_its_attempt(bakery, told):
    sent = bakery.clock()
    bakery.clock = Ticking(sent)
    record = bakery.bake_record(time=sent.isoformat())
    [reply] = map(decode, bakery.baker.process([record]))
    [moments] = told.moments
    assert reply.stamps == stamped(sent.isoformat(), *moments, microseconds(bakery.clock.now))


def refuse():
    raise Rejected("no", "flour")


class Ticking:
    """A clock on which a microsecond passes whenever somebody looks."""

    def __init__(self, now):
        self.now = now

    def __call__(self):
        self.now += timedelta(microseconds=1)
        return self.now

    def later(self):
        self.now += timedelta(seconds=10)
