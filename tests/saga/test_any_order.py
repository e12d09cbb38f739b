"""Whatever is lost, late or repeated: a saga is always legal, and ends well once all is at rest."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from saga.functions.orchestrator.place_order import PlaceOrder, place_order
from saga.runtime import Retry, inbox, intervention, transition
from saga.runtime.envelope import Reply, read_command_id
from saga.runtime.inbox import Answer

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SAGA_ID = str(UUID(int=2))
POLICY: dict[str, Any] = {"retry": Retry(attempts=3), "undo_retry": Retry(attempts=2)}
SAGA = replace(place_order, steps=[replace(s, **POLICY) for s in place_order.steps], deadline=120.0)
START = PlaceOrder(order_id=UUID(int=1), user_id=3, product_id=7, quantity=2)
EVENT = '{"order_id": "00000000-0000-0000-0000-000000000001", "total": "5.00"}'  # fits all of them
UNDOABLE = ["create_order", "reserve_product", "process_payment"]
LEGAL_NEXT = {
    "RUNNING": {"RUNNING", "COMPLETED", "COMPENSATING", "COMPENSATED", "FAILED"},
    "COMPENSATING": {"COMPENSATING", "COMPENSATED", "FAILED"},
    "FAILED": {"FAILED"},
    "COMPLETED": {"COMPLETED"},
    "COMPENSATED": {"COMPENSATED"},
}
LEGAL_STEPS = {
    "RUNNING": {"PENDING", "RUNNING", "DONE"},
    "COMPLETED": {"DONE"},
    "COMPENSATING": {
        *("PENDING", "DONE", "REJECTED", "FAILED"),
        *("UNDOING", "UNDONE", "UNDO_FAILED"),
    },
    "COMPENSATED": {"PENDING", "REJECTED", "FAILED", "UNDONE"},
    "FAILED": {"PENDING", "DONE", "REJECTED", "FAILED", "UNDONE", "UNDO_FAILED"},
}
VERDICTS = st.sampled_from(["done", "done", "done", "rejected", "failed"])
PICK = st.integers(0, 10**6)


class Participant:
    """A service: its inbox by the real rules, and which steps have taken effect."""

    def __init__(self):
        self.known, self.done, self.undone = {}, set(), set()

    def take(self, command, verdict, now):
        """Answer a command; `verdict` is what a handler would come to, were it to run."""
        _, step, action = read_command_id(command.id)
        decision = inbox.decide(command, self.known, now)
        answer = decision.answer or self._run(step, action, verdict)
        if decision.fence is not None:
            self.known[decision.fence] = inbox.fenced(now)
        if answer.outcome != "failed":
            self.known.setdefault(command.id, answer)
        attempt = command.attempt if answer.outcome == "failed" else 1
        return Reply(SAGA_ID, step, action, answer.outcome, attempt, answer.data)

    def _run(self, step, action, verdict):
        if action == "undo":
            if verdict != "failed":
                verdict = "done"  # an undo that is refused would need a person
                assert step in self.done - self.undone, "undo of what was not done"
                self.undone.add(step)
        elif step == "complete_order" and "create_order" in self.undone:
            verdict = "rejected"  # as complete_order does: the order is not pending any more
        elif verdict == "done":
            assert step not in self.done | self.undone, "done twice, or after its undo"
            self.done.add(step)
        return Answer("Any", verdict, "", EVENT)


class AnyOrder(RuleBasedStateMachine):
    """The network is two bags: anything in them may come at any time, again and again, or never."""

    @initialize()
    def begin(self):
        self.now, self.participant = NOW, Participant()
        self.replies = []
        self.state, commands = transition.start(SAGA, SAGA_ID, START, NOW)
        self.commands = list(commands)

    def become(self, result):
        state, commands = result
        assert state.status in LEGAL_NEXT[self.state.status]
        if self.state.ended:
            assert (state, commands) == (self.state, [])
        assert len(commands) <= 1
        self.state = state
        self.commands += commands

    @precondition(lambda self: self.commands)
    @rule(pick=PICK, verdict=VERDICTS, again=st.booleans())
    def command_arrives(self, pick, verdict, again):
        index = pick % len(self.commands)
        command = self.commands[index] if again else self.commands.pop(index)
        self.replies.append(self.participant.take(command, verdict, self.now))

    @precondition(lambda self: self.replies)
    @rule(pick=PICK, again=st.booleans())
    def reply_arrives(self, pick, again):
        index = pick % len(self.replies)
        reply = self.replies[index] if again else self.replies.pop(index)
        self.become(transition.on_reply(SAGA, self.state, reply, self.now))

    @precondition(lambda self: self.commands)
    @rule(pick=PICK)
    def command_is_lost(self, pick):
        self.commands.pop(pick % len(self.commands))

    @precondition(lambda self: self.replies)
    @rule(pick=PICK)
    def reply_is_lost(self, pick):
        self.replies.pop(pick % len(self.replies))

    @rule(seconds=st.sampled_from([0.1, 5, 16, 60]))
    def time_passes(self, seconds):
        self.now += timedelta(seconds=seconds)
        self.become(transition.on_due(SAGA, self.state, self.now))

    @precondition(lambda self: not self.state.ended)
    @rule(really=st.sampled_from([False, False, False, True]))
    def somebody_cancels(self, really):
        if really:
            self.become(intervention.cancel(SAGA, self.state, self.now))

    @precondition(lambda self: self.state.status == "FAILED")
    @rule()
    def operator_retries(self):
        self.state, commands = intervention.retry(SAGA, self.state, self.now)
        self.commands += commands

    @invariant()
    def steps_are_legal(self):
        statuses = [step.status for step in self.state.steps]
        assert set(statuses) <= LEGAL_STEPS[self.state.status]
        in_flight = sum(status in ("RUNNING", "UNDOING") for status in statuses)
        assert in_flight == (0 if self.state.ended else 1)
        assert (self.state.due_at is None) == self.state.ended
        assert (self.state.failure is None) == (self.state.status in ("RUNNING", "COMPLETED"))

    @invariant()
    def done_is_known_by_the_saga_only_if_it_was(self):
        done = {step.name for step in self.state.steps if step.status == "DONE"}
        assert done <= self.participant.done - self.participant.undone

    def deliver_all(self):
        while self.commands or self.replies:
            while self.commands:
                self.command_arrives(0, "done", False)
            while self.replies:
                self.reply_arrives(0, False)

    def teardown(self):
        for _ in range(100):
            self.deliver_all()
            if self.state.status == "FAILED":
                self.operator_retries()
            elif self.state.ended:
                break
            else:
                self.now = self.state.due_at
                self.become(transition.on_due(SAGA, self.state, self.now))
        self.deliver_all()
        effective = self.participant.done - self.participant.undone
        assert self.state.status in ("COMPLETED", "COMPENSATED")
        if self.state.status == "COMPLETED":
            assert effective == {*UNDOABLE, "complete_order"}
            assert self.participant.undone == set()
        else:
            assert effective.isdisjoint(UNDOABLE)


@pytest.mark.parametrize("steps", [12, 60])
def test_saga_ends_well_whatever_the_network_does(steps):
    limits = settings(max_examples=120, stateful_step_count=steps, deadline=None)
    run_state_machine_as_test(AnyOrder, settings=limits)
