"""A saga's host: applies replies, and between two polls acts on what is due."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from saga.runtime import Command, Event, Message, Saga, Step, loop, saga_host, saga_queries
from saga.runtime.crash import CrashPoints
from saga.runtime.database.schema import bind
from saga.runtime.envelope import Envelope, Record, decode
from saga.runtime.errors import BrokerUnavailable
from saga.runtime.observer import Observer
from saga.runtime.retry import Retry
from saga.runtime.saga_host import HostedSaga, SagaHost
from saga.runtime.saga_rows import SagaRow
from saga.runtime.saga_store import TABLES, Start
from saga.runtime.transport import Refusal

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Begin(Message):
    pass


class Made(Event, topic="host.events"):
    pass


class Make(Command, topic="host.make", event=Made):
    pass


class Finish(Command, topic="host.finish", event=Made):
    pass


class Unmake(Command, topic="host.unmake", event=Made):
    pass


STEPS = [Step(Make, undo=Unmake, timeout=5.0), Step(Finish, timeout=30.0)]
SAGA = Saga("hosted", start=Begin, steps=STEPS)


class Broker:
    """A transport in memory: time passes with each poll, and the last poll stops the host."""

    def __init__(self, hosting, *batches):
        self.hosting, self.batches, self.stop = hosting, list(batches), threading.Event()
        self.log, self.sent, self.timeouts = [], [], []
        self.refusals = 0
        self.never_taken = []

    def poll(self, timeout):
        self.log.append("poll")
        self.timeouts.append(timeout)
        batch = self.batches.pop(0)
        if not self.batches:
            self.stop.set()
        self.hosting.now += timedelta(seconds=batch) if isinstance(batch, float) else timedelta()
        return [] if isinstance(batch, float) else batch

    def send(self, records):
        if self.refusals and records:
            self.refusals -= 1
            raise BrokerUnavailable("away")
        self.sent += [decode(record).id.partition("/")[2] for record in records]

    def check(self):
        self.log.append("check")

    def finish(self, records):
        self.log.append("finish")
        self.send(records)

    def rewind(self):
        self.log.append("rewind")

    def refused(self):
        refused, self.never_taken = self.never_taken, []
        return refused


class Hosting:
    """A host with one saga, whose first command is lost."""

    def __init__(self, database):
        bind(database, TABLES)
        self.now = NOW
        self.host = SagaHost(HostedSaga("unit.hosted", SAGA), database, lambda: self.now)
        self.host._store.start(SAGA, [Start("s", Begin())], NOW)

    def again(self):
        """Put another host in the place of the one that has died."""
        self.host = SagaHost(HostedSaga("unit.hosted", SAGA), self.host.database, lambda: self.now)
        return self

    def run(self, *batches, refusals=0):
        broker: Any = Broker(self, *batches)
        broker.refusals = refusals
        self.host.run(broker, broker.stop)
        return broker

    def saga(self):
        return saga_queries.find(self.host.database, "s")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(loop, "WAIT", Retry(first=0.0))


@pytest.fixture
def hosting(database):
    return Hosting(database)


def done(step, offset=0):
    answer = Envelope("host.events", f"s/{step}/do/reply", "Made", "/x", "t", "{}", "done")
    return answer.record()._replace(partition=0, offset=offset)


def sent(out):
    return [decode(record).id.partition("/")[2] for record in out]


def test_replies_are_applied_and_committed(hosting):
    broker = hosting.run([done("make")])
    assert broker.sent == ["finish/do"]
    assert broker.log == ["poll", "finish"]
    assert hosting.saga().steps[0].status == "DONE"


def test_record_that_comes_again_sends_its_command_again_and_a_copy_does_not(hosting):
    """The host was killed between its commit and its commands."""
    assert sent(hosting.host.process([done("make", 7)])) == ["finish/do"]
    assert sent(hosting.host.process([done("make", 7)])) == ["finish/do"]
    assert sent(hosting.host.process([done("make", 8)])) == []


def test_copies_of_a_reply_make_one_command(hosting):
    copies = [done("make", offset) for offset in range(50)]
    assert sent(hosting.host.process(copies)) == ["finish/do"]
    assert sent(hosting.host.process(copies)) == ["finish/do"]


def test_copies_make_one_command_where_the_row_does_not_tell_the_record(hosting):
    hosting.host.process([done("make", 7)])
    row = SagaRow.get_by_id("s")
    older = row.state.replace("make/do host.events[0]@7", "make/do")
    assert older != row.state
    SagaRow.update(state=older).where(SagaRow.id == "s").execute()
    copies = [done("make", offset) for offset in range(50)]
    assert sent(hosting.host.process(copies)) == ["finish/do"]


def test_what_is_due_is_acted_on_between_two_polls(hosting):
    broker = hosting.run(5.0, [done("make")])
    assert broker.sent == ["make/do", "finish/do"]


def test_nothing_is_swept_before_its_time(hosting):
    broker = hosting.run(0.5, 0.4, 4.0)
    assert broker.sent == []
    assert hosting.saga().steps[0].silences == 0


def test_a_poll_ends_when_a_sweep_is_due(hosting):
    broker = hosting.run(0.0, 0.7, 0.2, 0.1)
    assert [round(timeout, 1) for timeout in broker.timeouts] == [0.0, 0.5, 0.3, 0.1]


def test_clock_that_is_set_back_stops_no_sweep(hosting):
    hosting.run(0.0)
    broker = hosting.run(-3600.0, 3606.0)
    assert broker.sent == ["make/do"]


def test_what_cant_be_sent_is_not_swept_again_until_the_broker_answers(hosting, monkeypatch):
    def refuse():
        hosting.checked = True
        raise BrokerUnavailable("still away")

    broker = Broker(hosting, 5.0, 5.0, 5.0, 0.0)
    broker.refusals, broker.check = 1, refuse
    hosting.host.run(broker, broker.stop)
    assert hosting.checked
    assert (broker.sent, hosting.saga().steps[0].silences) == ([], 1)
    assert hosting.run(5.0).sent == ["make/do"]


def refusal(*, step="make", action="do", attempt=1, missing=False):
    command = Envelope(f"host.{step}", f"s/{step}/{action}", "Make", "/x", "t", "{}")
    record = command._replace(attempt=attempt).record()
    return Refusal(record, "Broker: Message size too large", missing)


def test_command_that_no_broker_will_ever_take_ends_its_sagas_attempts(hosting):
    """It may have been sent in an earlier attempt: the step counts as one that may be done."""
    broker = Broker(hosting, 0.0, 0.0)
    broker.never_taken = [refusal()]
    hosting.host.run(broker, broker.stop)
    failure = hosting.saga().failure
    assert (failure.step, failure.code) == ("make", "not_sent")
    assert failure.message == "Broker: Message size too large"
    assert hosting.saga().steps[0].status == "UNDOING"


@pytest.mark.parametrize(
    "other", [{"missing": True}, {"attempt": 2}, {"step": "finish"}, {"action": "undo"}]
)
def test_other_refusals_change_nothing(hosting, other):
    broker = Broker(hosting, 0.0, 0.0)
    broker.never_taken = [refusal(**other)]
    before = hosting.saga()
    hosting.host.run(broker, broker.stop)
    assert hosting.saga() == before


def test_end_that_no_broker_will_ever_take_is_told_to_nobody(hosting):
    broker = Broker(hosting, 0.0, 0.0)
    ended = Envelope(SAGA.ended_topic, "s/ended", "SagaEnded", "/x", "t", "{}").record()
    broker.never_taken = [Refusal(ended, "too large", missing=False)]
    before = hosting.saga()
    hosting.host.run(broker, broker.stop)
    assert hosting.saga() == before


def test_a_sweep_that_fails_rewinds_no_committed_batch(hosting):
    broker = hosting.run([done("make")], 5.0, 0.0, refusals=0)
    failing = hosting.run(5.0, 0.0, refusals=1)
    assert "rewind" not in broker.log + failing.log


def answer(outcome):
    problem = '{"code": "oops", "message": "no"}'
    reply = Envelope("host.events", "s/make/do/reply", "Make", "/x", "t", problem, outcome)
    return reply._replace(attempt=1).record()._replace(partition=0, offset=3)


def is_silent(hosting):
    hosting.now += timedelta(seconds=5)
    return "make/do"


def has_waited_out_its_back_off(hosting):
    hosting.host.process([answer("failed")])
    hosting.now += timedelta(seconds=1)
    return "make/do"


def is_over_its_deadline(hosting):
    hosting.now += timedelta(seconds=300)
    return "make/undo"


@pytest.mark.parametrize("due", [is_silent, has_waited_out_its_back_off, is_over_its_deadline])
def test_host_killed_between_a_sweep_and_its_sending_costs_no_time_out(hosting, due):
    command = due(hosting)
    assert sent(hosting.host.sweep()) == [command]
    left, made = hosting.saga(), SagaRow.get_by_id("s").state
    hosting.now += timedelta(seconds=0.5)
    assert hosting.again().host.sweep() == [], "another one is sending it"
    hosting.now += timedelta(seconds=2)
    assert hosting.again().run(0.0).sent == [command]
    assert hosting.saga() == left
    assert (SagaRow.get_by_id("s").state, SagaRow.get_by_id("s").due_at) == (made, left.due_at)
    assert hosting.again().run(1.0).sent == []


@pytest.mark.parametrize("meanwhile", [done("make"), answer("failed")])
def test_saga_that_has_gone_on_meanwhile_is_sent_what_it_waits_for(hosting, meanwhile):
    is_silent(hosting)
    hosting.host.sweep()
    hosting.host.process([meanwhile])
    left = hosting.saga()
    hosting.now += timedelta(seconds=2 if left.awaiting else 0)
    assert sent(hosting.again().host.sweep()) == (["finish/do"] if left.awaiting else [])
    assert hosting.saga() == left


def test_saga_is_due_as_ever_where_a_host_was_dead_for_longer(hosting):
    is_silent(hosting)
    hosting.host.sweep()
    hosting.now += timedelta(seconds=10)
    assert hosting.again().run(0.0).sent == ["make/do"]
    assert hosting.saga().steps[0].silences == 2


def test_what_is_noted_late_undoes_nothing(hosting):
    is_silent(hosting)
    swept = hosting.host.sweep()
    hosting.host._store.cancel(SAGA, "s", hosting.now)
    row = SagaRow.get_by_id("s")
    hosting.host.note_sent(swept)
    assert SagaRow.get_by_id("s") == row
    assert SagaRow.get_by_id("s").due_at == hosting.saga().due_at


def test_what_the_broker_did_not_take_of_a_sweep_is_waited_for(hosting):
    """Were it sent again at once, a broker that takes only some would be sent them for ever."""
    assert hosting.run(5.0, 1.0, 1.0, refusals=1).sent == []
    assert hosting.run(8.0).sent == ["make/do"]


class InHand(CrashPoints):
    """Keeps what was in hand at each point of a sweep, as a crash would find it."""

    def __init__(self):
        super().__init__("unit.hosted", None)
        self.seen = []

    def reach(self, point, in_hand):
        if "sweep" in point:
            found = in_hand() if callable(in_hand) else in_hand
            self.seen.append((point, len(found)))


def test_a_sweep_has_in_hand_what_is_due(hosting):
    hosting.host._crash = points = InHand()
    hosting.run(0.0)
    assert points.seen == [("before_sweep", 0), ("after_sweep", 0)]
    points.seen.clear()
    hosting.run(5.0)
    reached = ["before_sweep", "in_sweep", "after_sweep", "after_sweep_sent"]
    assert points.seen == [(point, 1) for point in reached]


def test_a_sweep_of_nothing_begins_no_transaction(hosting, monkeypatch):
    monkeypatch.setattr(saga_host, "transaction", lambda _: 1 / 0)
    assert hosting.host.sweep() == []


def test_reply_that_cant_be_read_is_a_dead_letter_and_the_others_go_on(hosting):
    broken = Record("host.events", b"k", b"\xff", [], 0, 7)
    out = hosting.host.process([broken, done("make")])
    assert [record.topic for record in out] == ["host.events.dlq", "host.finish"]


def test_observer_hears_of_each_change_once_it_is_committed(hosting):
    heard = []

    class Told(Observer):
        def applied(self, changes):
            heard.extend((change.reply and change.reply.step, change.new) for change in changes)

    hosting.host.observer = Told()
    hosting.run(1.0, [done("make")], [])
    hosting.now += timedelta(seconds=31)
    hosting.run(1.0)
    assert [step for step, _ in heard] == ["make", None]
    assert heard[-1][1] == hosting.saga()
