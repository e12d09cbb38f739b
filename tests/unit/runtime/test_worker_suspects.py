"""A worker that notes what it takes in hand: of what is suspect, one at a time."""

import json

import pytest

from saga.runtime.errors import BrokerUnavailable, ContractError
from saga.runtime.poison import DEATHS, Plan


class Suspects:
    """Stands in for the notes of those who have died: it plans as a test wants it."""

    def __init__(self, log, *plans):
        self.log, self.plans = log, list(plans)

    def watch(self, records):
        self.watched = list(records)
        return bool(self.plans)

    def begin(self, records):
        self.log.append(("begin", list(records)))
        return self.plans.pop(0)

    def end(self, planned):
        self.log.append(("end", planned))


class Hand:
    """A transport that is told what becomes of the batch in hand."""

    def __init__(self, log):
        self.log = log

    def put_back(self, records):
        self.log.append(("put back", records))

    def finish(self, records):
        self.log.append(("finish", [record.topic for record in records]))
        self.sent = records


@pytest.fixture
def log():
    return []


@pytest.fixture
def batch(bakery):
    return [bakery.bake_record(name, name) for name in ("rye", "oat", "corn")]


def plan(take, *, guilty=False):
    return Plan(take, guilty, notes={}, rest={})


def test_batch_is_noted_before_it_is_worked_off_and_not_after(bakery, log, batch):
    whole = plan(3)
    bakery.baker.suspects = Suspects(log, whole)
    bakery.baker._finish(batch, Hand(log))
    assert bakery.baker.suspects.watched == batch
    assert log == [("begin", batch), ("finish", ["bakery.events"] * 3), ("end", whole)]
    assert bakery.loaves == ["corn", "oat", "rye"]


def test_what_may_not_be_taken_is_put_back(bakery, log, batch):
    first = plan(1)
    bakery.baker.suspects = Suspects(log, first)
    bakery.baker._finish(batch, Hand(log))
    assert log == [
        ("begin", batch),
        ("put back", batch[1:]),
        ("finish", ["bakery.events"]),
        ("end", first),
    ]
    assert bakery.loaves == ["rye"]


def test_guilty_message_is_set_aside_and_the_next_is_not(bakery, log, batch, outcomes):
    bakery.baker.suspects = Suspects(log, plan(1, guilty=True), plan(1))
    hand = Hand(log)
    bakery.baker._finish(batch[:1], hand)
    letter, reply = hand.sent
    why = f"{DEATHS} processes have ended with this message in hand"
    assert dict(letter.headers)["dlq_reason"].decode() == why
    assert outcomes([reply]) == [("rye/bake/do/reply", "failed")]
    assert json.loads(reply.value) == {"code": "process_ended", "message": why}
    bakery.baker._finish(batch[1:2], hand)
    sent = [topics for what, topics in log if what == "finish"]
    assert sent == [["bakery.bake.dlq", "bakery.events"], ["bakery.events"]]
    assert bakery.calls == ["bake oat"]
    assert bakery.inbox == {"rye/bake/do": "failed", "oat/bake/do": "done"}


@pytest.mark.parametrize(
    ("error", "guilty", "taken_back"),
    [
        (BrokerUnavailable("away"), False, True),
        (BrokerUnavailable("away"), True, False),
        (ContractError("a bug"), False, False),
    ],
    ids=["comes again", "has no letter yet", "ends the process"],
)
def test_note_is_taken_back_of_what_has_not_ended_its_process(
    bakery, log, batch, monkeypatch, error, guilty, taken_back
):
    def fail(*_):
        raise error

    planned = plan(1, guilty=guilty)
    bakery.baker.suspects = Suspects(log, planned)
    with monkeypatch.context() as patched:
        patched.setattr(Hand, "finish", fail)
        with pytest.raises(type(error)):
            bakery.baker._finish(batch[:1], Hand(log))
    assert (log[-1] == ("end", planned)) == taken_back
    bakery.baker._finish(batch[1:], Hand(log))
    assert bakery.loaves == (["corn", "oat"] if guilty else ["corn", "oat", "rye"])


def test_nothing_is_noted_where_nobody_watches(bakery, log, batch):
    bakery.baker.suspects = Suspects(log)
    bakery.baker._finish(batch, Hand(log))
    assert log == [("finish", ["bakery.events"] * 3)]
