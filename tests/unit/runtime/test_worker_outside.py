"""A handler that acts outside of its transaction: what it has begun is undone."""

import re
from dataclasses import replace

import peewee
import pytest

from saga.runtime import Rejected
from saga.runtime.batch_loop import LONGEST_BATCH
from saga.runtime.envelope import decode

UNDONE = ("s/bake/undo/reply", "done")
BOTH = ["bake rye", "eat rye"]
ENDLESS = 300_000  # characters


def acts_outside(worker):
    worker.function, worker.singly = replace(worker.function, outside=True), True


@pytest.fixture
def bakery(bakery):
    """Bake outside: somebody else's oven does not forget what was rolled back here."""
    acts_outside(bakery.baker)
    return bakery


def die():
    """End the process in mid-handler: alone among what a handler raises, this is no fault."""
    raise KeyboardInterrupt


def unreadable(bakery, **changes):
    return bakery.bake_record(**changes)._replace(value=b"{}")


def test_undo_runs_after_a_fault(bakery, outcomes):
    bakery.fails_next(TimeoutError("read timed out"))
    bakery.baker.process([bakery.bake_record()])
    assert outcomes(bakery.eater.process([bakery.eat_record()])) == [UNDONE]
    assert bakery.calls == BOTH


def test_undo_runs_after_a_death_in_the_handler(bakery, outcomes):
    bakery.after.append(die)
    with pytest.raises(KeyboardInterrupt):
        bakery.baker.process([bakery.bake_record()])
    assert outcomes(bakery.eater.process([bakery.eat_record()])) == [UNDONE]
    assert bakery.calls == BOTH


def test_undo_runs_after_its_do_was_set_aside_for_ending_processes(bakery, outcomes):
    bakery.after.append(die)
    with pytest.raises(KeyboardInterrupt):
        bakery.baker.process([bakery.bake_record()])
    bakery.baker._guilty = True
    bakery.baker.process([bakery.bake_record()])
    assert bakery.inbox["s/bake/do"] == "failed"
    assert outcomes(bakery.eater.process([bakery.eat_record()])) == [UNDONE]
    assert bakery.calls == BOTH


def test_undo_after_a_rejection_is_skipped(bakery):
    bakery.fails_next(Rejected("no_flour", "closed"))
    bakery.baker.process([bakery.bake_record()])
    assert decode(bakery.eater.process([bakery.eat_record()])[0]).type == "Eat.Skipped"
    assert bakery.calls == ["bake rye"]


def test_undo_of_what_never_came_is_skipped_and_fences_it(bakery, outcomes):
    [skipped] = bakery.eater.process([bakery.eat_record()])
    assert decode(skipped).type == "Eat.Skipped"
    refused = bakery.baker.process([bakery.bake_record()])
    assert outcomes(refused) == [("s/bake/do/reply", "rejected")]
    assert bakery.calls == []
    assert bakery.inbox == {"s/bake/do": "rejected", "s/bake/undo": "done"}


def test_undo_after_a_fault_fences_the_next_attempt(bakery, outcomes):
    bakery.fails_next(TimeoutError())
    bakery.baker.process([bakery.bake_record()])
    bakery.eater.process([bakery.eat_record()])
    refused = bakery.baker.process([bakery.bake_record(attempt=2)])
    assert outcomes(refused) == [("s/bake/do/reply", "rejected")]
    assert bakery.calls == BOTH


def test_undo_that_has_failed_runs_again_though_its_fence_stands(bakery, outcomes):
    bakery.fails_next(TimeoutError())
    bakery.baker.process([bakery.bake_record()])
    failing = bakery.worker("bakery.eat", bakery.eater.function.command, lambda _: 1 / 0)
    assert outcomes(failing.process([bakery.eat_record()])) == [("s/bake/undo/reply", "failed")]
    assert bakery.inbox["s/bake/do"] == "rejected"
    assert outcomes(bakery.eater.process([bakery.eat_record(attempt=2)])) == [UNDONE]
    assert bakery.calls == BOTH


def test_do_is_tried_again_after_a_fault_and_is_done_once(bakery, outcomes):
    bakery.fails_next(TimeoutError())
    bakery.baker.process([bakery.bake_record()])
    done = bakery.baker.process([bakery.bake_record(attempt=2)])
    assert bakery.baker.process([bakery.bake_record(attempt=2)]) == done
    assert outcomes(done) == [("s/bake/do/reply", "done")]
    assert bakery.calls == ["bake rye"] * 2
    assert bakery.inbox == {"s/bake/?": "failed", "s/bake/do": "done"}


def test_attempt_that_cannot_be_read_fails_where_an_earlier_one_has_begun(bakery, outcomes):
    bakery.fails_next(TimeoutError())
    bakery.baker.process([bakery.bake_record()])
    _, answer = bakery.baker.process([unreadable(bakery, attempt=2)])
    assert outcomes([answer]) == [("s/bake/do/reply", "failed")]


def test_command_that_cannot_be_read_is_refused_where_nothing_has_begun(bakery, outcomes):
    _, answer = bakery.baker.process([unreadable(bakery)])
    assert outcomes([answer]) == [("s/bake/do/reply", "rejected")]
    assert bakery.inbox == {"s/bake/do": "rejected"}


def test_record_that_is_no_command_becomes_a_letter_and_notes_nothing(bakery):
    [letter] = bakery.baker.process([bakery.bake_record()._replace(headers=[])])
    assert letter.topic == "bakery.bake.dlq"
    assert bakery.inbox == {}


def test_undo_that_cannot_be_read_is_refused(bakery, outcomes):
    bakery.baker.process([bakery.bake_record()])
    _, answer = bakery.eater.process([bakery.eat_record()._replace(value=b"{}")])
    assert outcomes([answer]) == [("s/bake/undo/reply", "rejected")]


def test_undo_that_acts_outside_too_notes_nothing_and_needs_its_do(bakery):
    acts_outside(bakery.eater)
    bakery.eater.process([bakery.eat_record()])
    assert bakery.calls == []
    assert bakery.inbox == {"s/bake/do": "rejected", "s/bake/undo": "done"}


def test_answer_too_large_to_send_is_a_fault(bakery, outcomes):
    bakery.after.append(lambda: bakery.Baked(name="r" * ENDLESS))
    replies = bakery.baker.process([bakery.bake_record()])
    assert outcomes(replies) == [("s/bake/do/reply", "failed")]
    told = r'"ContractError: event_too_large: 3\d+ characters of 200000"'
    assert re.search(told, decode(replies[0]).data)
    bakery.eater.process([bakery.eat_record()])
    assert bakery.calls == BOTH


def test_no_handler_runs_again_for_anothers_sake(bakery, outcomes):
    bakery.after = [lambda: None, lambda: 1 / 0]
    batch = [bakery.bake_record(name, name) for name in ("rye", "oat", "corn")]
    told = [outcome for _, outcome in outcomes(bakery.baker.process(batch))]
    assert told == ["done", "failed", "done"]
    assert bakery.calls == ["bake rye", "bake oat", "bake corn"]
    assert bakery.baker.unworked == []


def test_what_was_done_outside_is_committed_before_the_next_begins(bakery):
    bakery.after = [lambda: None, die]
    with pytest.raises(KeyboardInterrupt):
        bakery.baker.process([bakery.bake_record("rye", "r"), bakery.bake_record("oat", "o")])
    assert bakery.loaves == ["rye"]


def test_batch_ends_when_its_time_is_over(bakery):
    times = iter([0.0, 0.0, 0.0, LONGEST_BATCH + 0.1, LONGEST_BATCH + 0.1])
    bakery.baker.stopwatch = lambda: next(times, 2 * LONGEST_BATCH)
    batch = [bakery.bake_record(name, name) for name in ("rye", "oat")]
    assert len(bakery.baker.process(batch)) == 1
    assert bakery.baker.unworked == batch[1:]


def test_handler_is_given_its_command_and_the_same_key_at_each_attempt(bakery):
    given = []

    def bake(command, key):
        given.append((command.name, key))
        raise TimeoutError

    bakery.baker.function = replace(bakery.baker.function, handler=bake, keyed=True)
    for attempt in (1, 2):
        bakery.baker.process([bakery.bake_record(attempt=attempt)])
    assert given == [("rye", "s/bake/do")] * 2


def test_note_of_a_long_id_fits(postgres, open_bakery):
    bakery = open_bakery(postgres)
    acts_outside(bakery.baker)
    longest = "s" * (200 - len("/bake/do"))
    bakery.baker.process([bakery.bake_record(saga_id=longest)])
    assert bakery.inbox == {f"{longest}/bake/?": "failed", f"{longest}/bake/do": "done"}


def test_nothing_acts_outside_before_its_note_is_stored(bakery, monkeypatch):
    commit = bakery.database.commit

    def full():
        raise peewee.OperationalError("database or disk is full")

    monkeypatch.setattr(bakery.database, "commit", full)
    with pytest.raises(peewee.OperationalError):
        bakery.baker._work([bakery.bake_record()])
    assert bakery.calls == []
    monkeypatch.setattr(bakery.database, "commit", commit)
