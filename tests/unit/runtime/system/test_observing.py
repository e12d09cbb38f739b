"""Several observers hear as one, and what a handler logs tells of its command."""

from contextlib import nullcontext

import pytest

from saga.runtime.envelope import Envelope
from saga.runtime.log_fields import Known, known_fields
from saga.runtime.observer import Handled, Observer
from saga.runtime.system.observing import Logs, Observers


class Broken(Observer):
    """Raises whatever it is told."""

    def _break(self, *_):
        raise KeyError("broken")

    around = handled = applied = received = sent = ticking = ticked = _break


class Told(Observer):
    def __init__(self):
        self.heard = []

    def around(self, command, /):
        return Known(lambda: {"span_id": command.id})

    def handled(self, handled):
        self.heard.append(handled)

    def applied(self, changes):
        self.heard.append(changes)

    def received(self, count):
        self.heard.append(count)

    def sent(self, record):
        self.heard.append(record)

    def ticking(self, began, /):
        return nullcontext(f"00-{began}")

    def ticked(self, began, ended, commands):
        self.heard.append((began, ended, commands))


def test_what_a_handler_logs_tells_of_its_command(bakery):
    known = []
    bakery.baker.observer = Observers(Logs())
    bakery.before.append(lambda: known.append(known_fields()))
    bakery.baker.process([bakery.bake_record(attempt=2)])
    assert known == [{"saga_id": "s", "command_id": "s/bake/do", "attempt": 2}]
    assert known_fields() == {}


def test_all_are_told_and_the_last_one_is_nearest_to_the_handler():
    first, second = Told(), Told()
    observers = Observers(first, Logs(), second)
    command = Envelope("t", "s/x/do", "T", "/", "", "{}", traceparent=f"00-{1:032x}-{2:016x}-01")
    with observers.around(command):
        assert (known_fields()["span_id"], known_fields()["saga_id"]) == ("s/x/do", "s")
    handled = [Handled(command, None, "dead", 0, 0, 0)]
    observers.handled(handled)
    observers.applied([])
    observers.received(3)
    observers.sent(record := command.record())
    with observers.ticking(1) as traceparent:
        assert traceparent == "00-1"
    observers.ticked(1, 2, 3)
    assert first.heard == second.heard == [handled, [], 3, record, (1, 2, 3)]


def test_trace_of_a_timer_is_the_first_one_that_is_told():
    class Untraced(Observer):
        def ticking(self, began, /):
            return nullcontext()

    for observers in (Observers(Told(), Untraced()), Observers(Untraced(), Told())):
        with observers.ticking(1) as traceparent:
            assert traceparent == "00-1"


def test_one_that_raises_takes_along_neither_the_others_nor_the_work(bakery, caplog):
    told = Told()
    bakery.baker.observer = observers = Observers(Broken(), told)
    [reply] = bakery.baker.process([bakery.bake_record()])
    assert dict(reply.headers)["ce_outcome"] == b"done"
    observers.applied([])
    observers.received(3)
    observers.sent(reply)
    with observers.ticking(1) as traceparent:
        assert traceparent == "00-1"
    observers.ticked(1, 2, 3)
    [[handled], *others] = told.heard
    assert handled.outcome == "done"
    assert others == [[], 3, reply, (1, 2, 3)]
    assert caplog.text.count("not observed: KeyError") == 7


def test_one_that_raises_alone_takes_nothing_along(bakery, caplog):
    """As the only one that is around a handler: where its span can't be made."""
    bakery.baker.observer = Observers(Broken())
    [reply] = bakery.baker.process([bakery.bake_record()])
    assert dict(reply.headers)["ce_outcome"] == b"done"
    assert caplog.text.count("not observed: KeyError") == 2


def test_one_that_can_not_leave_keeps_no_other_in(caplog):
    class Stuck(Observer):
        def around(self, command, /):
            return Leaving()

    class Leaving(nullcontext):
        def __exit__(self, *_):
            raise KeyError("stuck")

    command = Envelope("t", "s/x/do", "T", "/", "", "{}")
    with pytest.raises(ValueError, match="burnt"), Observers(Logs(), Stuck()).around(command):
        raise ValueError("burnt")
    assert known_fields() == {}
    assert "not observed: KeyError" in caplog.text


def test_what_nobody_hears_is_told_to_nobody():
    observers = Observers(Logs())
    observers.handled([])
    with observers.ticking(1) as traceparent:
        assert traceparent is None
    observers.sent(Envelope("t", "s/x/do", "T", "/", "", "{}").record())
