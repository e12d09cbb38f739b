"""What a participant decides about a command, and what it remembers."""

from datetime import UTC, datetime

import peewee
import pytest

from saga.runtime import inbox
from saga.runtime.database.connection import transaction
from saga.runtime.database.schema import bind
from saga.runtime.envelope import Envelope
from saga.runtime.errors import Undecodable
from saga.runtime.inbox import FENCED, Answer, Decision, InboxRow, decide

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DO, UNDO, BEGUN = "s/pay/do", "s/pay/undo", "s/pay/?"
DONE = Answer("Paid", "done", "then", '{"a": 1}')
REJECTED = Answer("Pay.Rejected", "rejected", "then", "{}")
FAILED = Answer("Pay.Failed", "failed", "then", "{}")
NOTE = Answer("Begun", "failed", "then", "{}")
UNDONE = Answer("Unpaid", "done", "then", "{}")
SKIPPED = Answer("Pay.Skipped", "done", NOW.isoformat(), "{}")


def command(identifier, kind="Pay"):
    return Envelope("unit.pay", identifier, kind, "/saga/s", "now", "{}")


@pytest.mark.parametrize(
    ("identifier", "known", "decision"),
    [
        (DO, {}, Decision(run=True)),
        (DO, {DO: DONE}, Decision(run=False, answer=DONE)),
        (DO, {DO: REJECTED}, Decision(run=False, answer=REJECTED)),
        (DO, {DO: DONE, UNDO: UNDONE}, Decision(run=False, answer=DONE)),
        (DO, {"t/pay/do": DONE, "s/make/do": DONE}, Decision(run=True)),
        (UNDO, {}, Decision(run=False, answer=SKIPPED, fence=DO)),
        (UNDO, {DO: DONE}, Decision(run=True)),
        (UNDO, {DO: REJECTED}, Decision(run=False, answer=SKIPPED)),
        (UNDO, {DO: inbox.fenced(NOW)}, Decision(run=False, answer=SKIPPED)),
        (UNDO, {DO: DONE, UNDO: UNDONE}, Decision(run=False, answer=UNDONE)),
        (DO, {BEGUN: NOTE}, Decision(run=True)),
        (UNDO, {BEGUN: NOTE}, Decision(run=True, fence=DO)),
        (UNDO, {BEGUN: NOTE, DO: DONE}, Decision(run=True)),
        (UNDO, {BEGUN: NOTE, DO: FAILED}, Decision(run=True)),
        (UNDO, {BEGUN: NOTE, DO: inbox.fenced(NOW)}, Decision(run=True)),
        (UNDO, {BEGUN: NOTE, DO: REJECTED}, Decision(run=False, answer=SKIPPED)),
        (UNDO, {BEGUN: NOTE, DO: FAILED, UNDO: UNDONE}, Decision(run=False, answer=UNDONE)),
        (UNDO, {DO: FAILED}, Decision(run=False, answer=SKIPPED)),
        (UNDO, {UNDO: SKIPPED}, Decision(run=False, answer=SKIPPED)),
        (UNDO, {"t/pay/do": DONE, "s/make/do": DONE}, Decision(False, SKIPPED, fence=DO)),
    ],
)
def test_decision(identifier, known, decision):
    assert decide(command(identifier), known, NOW) == decision


@pytest.mark.parametrize(
    ("identifier", "answer", "guilty", "kept"),
    [
        (DO, DONE, False, True),
        (DO, REJECTED, False, True),
        (DO, FAILED, False, False),
        (DO, FAILED, True, True),
        (UNDO, UNDONE, False, True),
        (UNDO, REJECTED, False, False),
        (UNDO, FAILED, True, False),
    ],
)
def test_answer_is_kept_that_no_other_attempt_may_change(identifier, answer, guilty, kept):
    assert inbox.is_kept(command(identifier), answer, guilty) is kept


def test_fenced_do_is_rejected_as_cancelled():
    assert inbox.fenced(NOW) == Answer("Fenced", "rejected", NOW.isoformat(), FENCED)
    assert '"cancelled"' in FENCED


def test_command_without_a_commands_id_is_undecodable():
    with pytest.raises(Undecodable):
        decide(command("s/pay/perhaps"), {}, NOW)


def test_undo_is_looked_up_with_its_do():
    assert inbox.related([command(UNDO), command("t/pay/do")]) == {DO, UNDO, BEGUN, "t/pay/do"}


def test_do_that_acts_outside_is_looked_up_with_its_note():
    assert inbox.related([command(DO)], outside=True) == {DO, BEGUN}


def test_saved_answer_is_loaded(database):
    bind(database, [InboxRow])
    answer = Answer("Paid", "done", "then", '{"text": "Zoë \\u0000"}')
    inbox.save(database, [(DO, answer), (UNDO, UNDONE)])
    assert inbox.load(database, [DO, "t/pay/do"]) == {DO: answer}


def test_nothing_is_saved_and_nothing_loaded(database):
    bind(database, [InboxRow])
    inbox.save(database, [])
    assert inbox.load(database, []) == {}


def test_second_answer_to_a_command_is_refused(database):
    bind(database, [InboxRow])
    inbox.save(database, [(DO, DONE)])
    with pytest.raises(peewee.IntegrityError), transaction(database):
        inbox.save(database, [(UNDO, UNDONE), (DO, REJECTED)])
    assert inbox.load(database, [DO, UNDO]) == {DO: DONE}
