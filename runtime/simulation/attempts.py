"""Attempts: each that failed was answered so, or not at all; a round has all of them."""

from collections import Counter
from collections.abc import Iterator, Set

from ..envelope import Action, message_id, reply_id
from ..saga import Saga
from ..testing.judgement import Case
from ..testing.sending import Sending, sendings

Attempt = tuple[str, str, str]  # a reply's id, its outcome, and the attempt that it names
# Errors that no answer has brought.
UNSENT = ("invalid_command", "not_sent")
OWN = ("", "timeout", "cancelled", "deadline_exceeded", *UNSENT)


def attempt_problems(saga: Saga, case: Case, answered: Set[Attempt]) -> Iterator[str]:
    """Say which attempts have failed without an answer, and which rounds were too short."""
    in_round: Counter[str] = Counter()
    for sending in sendings(case.path):
        told = [o for o in ("failed", "rejected") if _answer(case, sending, o) in answered]
        if sending.error not in OWN and not told:
            yield f"attempt {_named(sending)} failed by {sending.error}, which nobody has answered"
        if sending.status != "UNDOING":
            continue
        in_round[sending.step] += 1
        if sending.given_up and sending.error not in OWN[:1]:
            attempts = saga.step(sending.step).undo_retry.attempts
            refused = "rejected" in told or sending.error in UNSENT
            if in_round.pop(sending.step) != attempts and not refused:
                yield f"gave up at attempt {_named(sending)}, of {attempts} in a round"


def _answer(case: Case, sending: Sending, outcome: str) -> Attempt:
    action: Action = "do" if sending.status == "RUNNING" else "undo"
    command = message_id(case.state.id, sending.step, action)
    return reply_id(command), outcome, str(sending.number)


def _named(sending: Sending) -> str:
    return f"{sending.number} of {sending.step} {sending.status}"
