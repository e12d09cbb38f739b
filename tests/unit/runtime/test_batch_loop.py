"""What works off records: a batch is a transaction, then is sent, then is done."""

import threading

import peewee

from saga.runtime import crash
from saga.runtime import loop as module
from saga.runtime.batch_loop import LONGEST_BATCH, POLL_TIMEOUT, BatchLoop
from saga.runtime.database.connection import CommitRefused
from saga.runtime.envelope import Record
from saga.runtime.errors import BrokerUnavailable
from saga.runtime.retry import Retry
from saga.runtime.transport import Refusal


def records(*numbers):
    return [Record("parcels", None, b"%d" % number, [], 0, number) for number in numbers]


class Belt:
    """A transport of so many batches; one that is an error is raised. It stops an idle loop."""

    def __init__(self, *batches, refused=()):
        self.batches, self._refused, self.done = list(batches), list(refused), []
        self.log, self.stop, self.waits = [], threading.Event(), []
        self.stop.wait = self.waits.append  # type: ignore[assignment]

    def poll(self, timeout):
        self.log.append(f"poll {timeout}")
        assert len(self.log) < 100, "there is no end of it"
        if not self.batches:
            self.stop.set()
            return []
        batch = self.batches.pop(0)
        if isinstance(batch, Exception):
            raise batch
        return batch

    def put_back(self, records):
        self.log.append("put back")
        self.batches.insert(0, list(records))

    def finish(self, records):
        self.log.append("finish")
        self.done.append(list(records))

    def refused(self):
        refused, self._refused = self._refused, []
        return refused

    def rewind(self):
        self.log.append("rewind")


class Parcels(BatchLoop):
    """Sends on what it gets. What `odd` tells is not committed together with anything."""

    def __init__(self, odd=lambda _: False, points=crash.DISARMED):
        super().__init__("parcels", peewee.SqliteDatabase(":memory:"), crash_points=points)
        self.odd, self.given_up, self.times = odd, [], []
        self.stopwatch = lambda: self.times.pop(0) if self.times else 0.0

    def _work(self, records):
        if len(records) > 1 and any(map(self.odd, records)):
            raise CommitRefused("it does not fit")
        return [record._replace(topic="sent") for record in records]

    def _give_up(self, refused, transport):
        self.given_up.append((refused, transport))


def run(parcels, belt):
    parcels.run(belt, belt.stop)
    return [[int(record.value) for record in batch] for batch in belt.done]


def test_loop_polls_again_at_once():
    belt = Belt(records(1, 2), records(3))
    assert run(Parcels(), belt) == [[1, 2], [3]]
    assert belt.log == [f"poll {POLL_TIMEOUT}", "finish"] * 2 + [f"poll {POLL_TIMEOUT}"]
    assert belt.waits == []


def test_what_the_broker_never_takes_is_given_up_once():
    refused = [Refusal(records(1)[0], "too long", missing=False)]
    parcels, belt = Parcels(), Belt(records(1), refused=refused)
    run(parcels, belt)
    assert parcels.given_up == [(refused, belt)]


def test_what_is_unavailable_is_waited_for_longer_each_time(monkeypatch):
    monkeypatch.setattr(module, "WAIT", Retry(first=1.0))
    belt = Belt(BrokerUnavailable("away"), BrokerUnavailable("away"), records(1))
    parcels = Parcels()
    assert run(parcels, belt) == [[1]]
    assert belt.log.count("rewind") == 2
    assert belt.waits == [module.WAIT.delay(number, "parcels") for number in (1, 2)]
    assert parcels.failures == 0


class Connection:
    """A database's; it counts how often it was dropped."""

    database, dropped = "parcels", 0

    def close(self):
        self.dropped += 1


def test_connection_is_dropped_before_each_other_try():
    parcels, failures = Parcels(), [peewee.OperationalError("away")] * 3
    parcels.database = connection = Connection()
    parcels.retrying = module.RETRYING.copy(sleep=lambda _: None)

    def odd(record):
        if failures:
            raise failures.pop()
        return False

    parcels.odd = odd
    assert run(parcels, Belt(records(1, 2))) == [[1, 2]]
    assert connection.dropped == 3


def test_connection_is_dropped_before_another_turn():
    parcels = Parcels()
    parcels.database = connection = Connection()
    run(parcels, Belt(BrokerUnavailable("away"), BrokerUnavailable("away")))
    assert connection.dropped == 2


def test_crash_points_are_told_what_is_in_hand():
    told = []

    class Told(crash.CrashPoints):
        def reach(self, point, in_hand):
            told.append((point, in_hand))

    batch = records(1, 2)
    sent = [record._replace(topic="sent") for record in batch]
    run(Parcels(points=Told("", None)), Belt(batch))
    assert told == [
        (crash.BEFORE_HANDLER, batch),
        (crash.AFTER_COMMIT, sent),
        (crash.AFTER_SEND, sent),
    ]


def odd(record):
    return record.value == b"2"


def test_what_is_taken_one_by_one_may_last_as_long_as_a_batch():
    parcels = Parcels(odd)
    parcels.times = [0.0, LONGEST_BATCH, LONGEST_BATCH + 0.1]
    assert run(parcels, Belt(records(1, 2, 3))) == [[1, 2], [3]]


def test_what_there_was_no_time_for_is_put_back_once():
    parcels = Parcels(odd)
    parcels.times = [0.0, LONGEST_BATCH + 0.1]
    belt = Belt(records(1, 2), records(3, 4))
    assert run(parcels, belt) == [[1], [2], [3, 4]]
    assert belt.log.count("put back") == 1
