"""A saga that is led through its transitions in made-up time, with its history."""

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

from saga.runtime import Command, Event, Message, Saga, Step, intervention, transition
from saga.runtime.clock import microseconds
from saga.runtime.console.timeline import Timeline, timeline
from saga.runtime.envelope import Action, Envelope, Outcome, Reply
from saga.runtime.errors import Conflict
from saga.runtime.retry import Retry
from saga.runtime.saga_history import Moment, _moments, recorded
from saga.runtime.saga_state import SagaState
from saga.runtime.stamps import Stamps, between
from saga.runtime.transition import Transition

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


class Baked(Event, topic="bakery.events"):
    """It is done."""

    weight: int = 0


class Bake(Command, topic="bakery.bake", event=Baked):
    """A first step."""

    cake: str


class Eat(Command, topic="bakery.eat", event=Baked):
    """Its undo."""

    cake: str


class Sell(Command, topic="bakery.sell", event=Baked):
    """A second step."""

    cake: str


class BuyBack(Command, topic="bakery.buy_back", event=Baked):
    """Its undo."""

    cake: str


class Ship(Command, topic="bakery.ship", event=Baked):
    """A last step."""

    cake: str


class OrderCake(Message):
    """What is ordered."""

    cake: str


few = Retry(attempts=3)
order_cake = Saga(
    "order-cake",
    OrderCake,
    [
        Step(Bake, undo=Eat, retry=few, undo_retry=few),
        Step(Sell, undo=BuyBack, retry=few, undo_retry=few),
        Step(Ship, retry=few),
    ],
    search=("cake",),
)


class Telling:
    """Leads one saga; each move takes so many milliseconds, and returns the telling."""

    def __init__(self) -> None:
        self.now = BEGAN
        self.sent: list[Envelope] = []
        self.state: SagaState
        begun, self.sent = transition.start(
            order_cake, str(UUID(int=1)), OrderCake(cake="Tart"), BEGAN
        )
        self.state = recorded(None, begun)
        self.sent_at = BEGAN

    def move(self, name: str, milliseconds: int) -> "Telling":
        """Make a move by its name, where the saga allows it."""
        state = self.state
        if name == "retry" or name == "skip":
            if state.status != "FAILED":
                return self
            failed = next(s.name for s in state.steps if s.status == "UNDO_FAILED")
            if name == "skip":
                return self.skip(milliseconds, failed, "Ada", "by hand")
            return self.retry(milliseconds)
        if state.ended:
            return self
        if name == "due":
            return self.due()
        if name == "cancel":
            return self.cancel(milliseconds)
        if not state.awaiting:
            return self.due()
        if name == "failed":
            return self.failed(milliseconds, "Broken")
        if name == "rejected":
            return self.rejected(milliseconds, "no")
        return self.done(milliseconds, stamps=(-3, 1, 2, 9) if name == "stamped" else None)

    def done(
        self, milliseconds: float, stamps: tuple[int, int, int, int] | None = None
    ) -> "Telling":
        """Let what is in flight be done; stamps are milliseconds after the command was sent."""
        return self._reply("done", "{}", milliseconds, stamps)

    def failed(self, milliseconds: float, code: str) -> "Telling":
        """Let it fail."""
        return self._reply("failed", _problem(code), milliseconds)

    def rejected(self, milliseconds: float, code: str) -> "Telling":
        """Let it be refused."""
        return self._reply("rejected", _problem(code), milliseconds)

    undo_refused = rejected

    def due(self) -> "Telling":
        """Let time pass until the saga is due."""
        assert self.state.due_at is not None
        self.now = max(self.now, self.state.due_at)
        return self._take(transition.on_due(order_cake, self.state, self.now))

    def cancel(self, milliseconds: float) -> "Telling":
        """Let a person cancel it."""
        self.now += milliseconds * MILLISECOND
        return self._take(intervention.cancel(order_cake, self.state, self.now))

    def retry(self, milliseconds: float) -> "Telling":
        """Let a person retry it."""
        self.now += milliseconds * MILLISECOND
        return self._take(intervention.retry(order_cake, self.state, self.now))

    def skip(self, milliseconds: float, step: str, by: str, reason: str) -> "Telling":
        """Let a person skip an undo."""
        self.now += milliseconds * MILLISECOND
        try:
            change = intervention.skip(order_cake, self.state, step, by, reason, self.now)
        except Conflict:
            return self
        return self._take(change)

    def moments(self) -> list[Moment]:
        """Return its history."""
        return list(_moments(self.state, "RUNNING"))

    def timeline(self, after: int = 0) -> Timeline:
        """Tell its time, so many milliseconds after the last move."""
        return timeline(self.state, self.moments(), self.now + after * MILLISECOND)

    def _reply(
        self,
        outcome: Outcome,
        data: str,
        milliseconds: float,
        stamps: tuple[int, int, int, int] | None = None,
    ) -> "Telling":
        self.now += milliseconds * MILLISECOND
        index = self.state.in_flight
        assert index is not None
        step = self.state.steps[index]
        action: Action = "do" if self.state.status == "RUNNING" else "undo"
        attempt = step.attempts if action == "do" else step.undo_attempts
        later = [self.sent_at + n * MILLISECOND for n in stamps or ()]
        taken = Stamps(*map(microseconds, [self.sent_at, *later])) if stamps else None
        reply = Reply(self.state.id, step.name, action, outcome, attempt, data)
        return self._take(transition.on_reply(order_cake, self.state, reply, self.now), taken)

    def _take(self, change: Transition, stamps: Stamps | None = None) -> "Telling":
        took = between(stamps, change[0].updated_at) if stamps else ()
        self.state = recorded(self.state, change[0], took)
        if change[1]:
            self.sent_at = self.now
        self.sent += change[1]
        return self


def _problem(code: str) -> str:
    return json.dumps({"code": code, "message": "it is broken"})
