"""What is noted of a do that acts outside, and what the note changes."""

from datetime import UTC, datetime

from saga.runtime import inbox
from saga.runtime.envelope import Envelope
from saga.runtime.inbox import Answer
from saga.runtime.outside import begun, unseen

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BEGUN = "s/pay/?"
NOTE = Answer("Begun", "failed", NOW.isoformat(), "{}")
REJECTED = Answer("Pay.Rejected", "rejected", "then", "{}")


def command(identifier):
    return Envelope("unit.pay", identifier, "Pay", "/saga/s", "now", "{}")


DO, UNDO = command("s/pay/do"), command("s/pay/undo")


def test_do_that_is_about_to_run_is_noted_once():
    assert begun([DO], {}, NOW) == [(BEGUN, NOTE)]
    assert begun([DO], {BEGUN: NOTE}, NOW) == []
    assert begun([DO], {DO.id: inbox.fenced(NOW)}, NOW) == []


def test_do_that_has_begun_is_not_refused_unseen():
    assert unseen(DO, REJECTED, {}) == REJECTED
    assert unseen(DO, REJECTED, {BEGUN: NOTE}).outcome == "failed"
    assert unseen(UNDO, REJECTED, {BEGUN: NOTE}) == REJECTED
