"""The worker's loop: work a batch off, and finish it with what came of it."""

import threading

import peewee
import pytest

from saga.runtime import loop as module
from saga.runtime.batch_loop import LONGEST_BATCH
from saga.runtime.errors import BrokerUnavailable, ContractError
from saga.runtime.poison import Plan
from saga.runtime.retry import Retry


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(module, "WAIT", Retry(first=0.0))


class Shelf:
    """A transport in memory. It remembers what was asked of it, and stops an idle worker."""

    def __init__(self, *batches, fail=()):
        self.batches, self.fail, self.stop = list(batches), list(fail), threading.Event()
        self.log, self.sent, self.read, self.finished = [], [], 0, 0

    def poll(self, timeout):
        if self.read == len(self.batches):
            self.stop.set()
            return []
        self.read += 1
        self._do("poll")
        return self.batches[self.read - 1]

    def put_back(self, records):
        self.log.append(f"put back {len(records)}")
        self.batches.insert(self.read, list(records))

    def finish(self, records):
        self._do("finish")
        self.sent += records
        self.finished = self.read

    def refused(self):
        return []

    def rewind(self):
        self.log.append("rewind")
        self.read = self.finished

    def close(self):
        self.log.append("close")

    def _do(self, name):
        self.log.append(name)
        if self.fail and self.fail[0][0] == name:
            raise self.fail.pop(0)[1]


def away():
    return BrokerUnavailable("the broker is away")


def test_each_batch_is_finished_with_its_replies(bakery, outcomes):
    shelf = Shelf([bakery.bake_record()], [bakery.bake_record("oat", "t")])
    bakery.baker.run(shelf, shelf.stop)
    assert shelf.log == ["poll", "finish"] * 2
    assert outcomes(shelf.sent) == [("s/bake/do/reply", "done"), ("t/bake/do/reply", "done")]


class Slow:
    """A stopwatch for a worker: a handler takes `seconds`, all else no time."""

    def __init__(self, bakery, seconds):
        self.bakery, self.seconds = bakery, seconds

    def __call__(self):
        return self.seconds * len(self.bakery.calls)


def test_slow_batch_is_ended_in_time_and_the_rest_comes_again(bakery, outcomes):
    bakery.baker.stopwatch = Slow(bakery, 0.2)
    batch = [bakery.bake_record(f"loaf {n}", f"s{n}") for n in range(8)]
    batch.insert(1, bakery.bake_record()._replace(headers=[]))
    shelf = Shelf(batch)
    bakery.baker.run(shelf, shelf.stop)
    assert [line for line in shelf.log if line != "poll"] == [
        "put back 5",
        "finish",
        "put back 2",
        "finish",
        "finish",
    ]
    assert bakery.calls == [f"bake loaf {n}" for n in range(8)]
    replies = [record for record in shelf.sent if record.topic == "bakery.events"]
    assert outcomes(replies) == [(f"s{n}/bake/do/reply", "done") for n in range(8)]
    assert len(shelf.sent) == 9


def test_batch_may_last_as_long_as_its_limit(bakery):
    bakery.baker.stopwatch = Slow(bakery, LONGEST_BATCH)
    shelf = Shelf([bakery.bake_record(f"loaf {n}", f"s{n}") for n in range(3)])
    bakery.baker.run(shelf, shelf.stop)
    work = [line for line in shelf.log if line != "poll"]
    assert work == ["put back 1", "finish", "finish"]


def test_batch_whose_first_message_takes_too_long_goes_on_one_by_one(bakery, outcomes):
    bakery.baker.stopwatch = Slow(bakery, 60.0)
    shelf = Shelf([bakery.bake_record(f"loaf {n}", f"s{n}") for n in range(3)])
    bakery.baker.run(shelf, shelf.stop)
    work = [line for line in shelf.log if line != "poll"]
    assert work == ["put back 2", "finish", "put back 1", "finish", "finish"]


def test_slow_batch_that_is_begun_again_keeps_to_its_time(bakery, outcomes):
    """A handler's writes are undone with the batch; it runs again with savepoints, and in parts."""
    bakery.after = [lambda: None, lambda: 1 / 0]
    bakery.baker.stopwatch = Slow(bakery, 0.3)
    batch = [bakery.bake_record(f"loaf {n}", f"s{n}") for n in range(4)]
    shelf = Shelf(batch)
    bakery.baker.run(shelf, shelf.stop)
    assert [f"s{n}/bake/do/reply" for n in range(4)] == [name for name, _ in outcomes(shelf.sent)]
    assert [outcome for _, outcome in outcomes(shelf.sent)] == ["done", "failed", "done", "done"]
    assert sorted(bakery.loaves) == ["loaf 0", "loaf 2", "loaf 3"]


def test_nothing_is_finished_for_an_empty_poll(bakery):
    shelf = Shelf([])
    bakery.baker.run(shelf, shelf.stop)
    assert shelf.log == ["poll"]


@pytest.mark.parametrize("where", ["poll", "finish"])
def test_broker_away_rewinds_and_works_the_batch_off_again(bakery, where):
    shelf = Shelf([bakery.bake_record()], fail=[(where, away()), (where, away())])
    bakery.baker.run(shelf, shelf.stop)
    assert shelf.log.count("rewind") == 2
    assert shelf.log[-2:] == ["poll", "finish"]
    assert bakery.calls == ["bake rye"]
    assert bakery.loaves == ["rye"]
    assert len({record.value for record in shelf.sent}) == 1


def test_replies_sent_again_are_the_same_bytes(bakery):
    shelf = Shelf([bakery.bake_record()], [bakery.bake_record()])
    bakery.baker.run(shelf, shelf.stop)
    first, second = shelf.sent
    assert first == second


def test_database_away_rewinds(bakery, monkeypatch):
    shelf = Shelf([bakery.bake_record()])
    process, failures = bakery.baker.process, [peewee.OperationalError("away")]

    def fail_first(records):
        if failures:
            raise failures.pop()
        return process(records)

    monkeypatch.setattr(bakery.baker, "process", fail_first)
    bakery.baker.run(shelf, shelf.stop)
    assert shelf.log == ["poll", "rewind", "poll", "finish"]


def test_error_of_our_own_is_not_hidden(bakery, monkeypatch):
    def fail(records):
        raise ContractError("a bug")

    monkeypatch.setattr(bakery.baker, "process", fail)
    shelf = Shelf([bakery.bake_record()])
    with pytest.raises(ContractError):
        bakery.baker.run(shelf, shelf.stop)
    assert "finish" not in shelf.log


def test_stop_finishes_the_batch(bakery):
    shelf = Shelf([bakery.bake_record()], [bakery.bake_record("oat", "t")])
    bakery.before.append(shelf.stop.set)
    bakery.baker.run(shelf, shelf.stop)
    assert shelf.log == ["poll", "finish"]
    assert bakery.loaves == ["rye"]


def test_stopped_worker_does_not_begin(bakery):
    shelf = Shelf([bakery.bake_record()])
    shelf.stop.set()
    bakery.baker.run(shelf, shelf.stop)
    assert shelf.log == []


def test_stop_cuts_a_wait_short(bakery, monkeypatch):
    monkeypatch.setattr(module, "WAIT", Retry(first=1000.0, longest=1000.0))
    shelf = Shelf([bakery.bake_record()], fail=[("finish", away())])
    shelf.rewind = shelf.stop.set
    bakery.baker.run(shelf, shelf.stop)
    assert shelf.log == ["poll", "finish"]


class Noted:
    """Notes by which the first record is guilty, for as long as nobody takes them back."""

    def __init__(self):
        self.guilty = True

    def watch(self, records):
        return True

    def begin(self, records):
        return Plan(1, guilty=self.guilty, notes={}, rest={})

    def end(self, planned):
        self.guilty = False


def test_guilty_message_stays_so_until_its_letter_is_sent(bakery, outcomes):
    bakery.baker.suspects = Noted()
    shelf = Shelf([bakery.bake_record()], fail=[("finish", away()), ("finish", away())])
    bakery.baker.run(shelf, shelf.stop)
    letter, reply = shelf.sent
    assert letter.topic == "bakery.bake.dlq"
    assert outcomes([reply]) == [("s/bake/do/reply", "failed")]
    assert (bakery.calls, bakery.baker.suspects.guilty) == ([], False)
