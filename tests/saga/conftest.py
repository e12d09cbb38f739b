"""A language for sagas: start, reply, wait, cancel; what was sent, where it stands."""

from copy import deepcopy
from datetime import UTC, datetime, timedelta

import pytest

from saga.runtime import Command, Event, Message, Reply, Retry, Saga, Step, transition
from saga.runtime.message import Problem

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Begin(Message):
    goods: int


class Happened(Event, topic="story.events"):
    pass


class Priced(Event, topic="story.prices"):
    price: int


class Make(Command, topic="story.make", event=Happened):
    saga_id: str
    goods: int


class Unmake(Command, topic="story.unmake", event=Happened):
    goods: int


class Reserve(Command, topic="story.reserve", event=Priced):
    goods: int


class Release(Command, topic="story.release", event=Happened):
    goods: int


class Pay(Command, topic="story.pay", event=Happened):
    price: int


class Refund(Command, topic="story.refund", event=Happened):
    price: int


class Finish(Command, topic="story.finish", event=Happened):
    pass


STEPS = [
    Step(Make, undo=Unmake, retry=Retry(attempts=3), undo_retry=Retry(attempts=2)),
    Step(Reserve, undo=Release, retry=Retry(attempts=3), undo_retry=Retry(attempts=2)),
    Step(Pay, undo=Refund, retry=Retry(attempts=3), undo_retry=Retry(attempts=2)),
    Step(Finish, retry=Retry(attempts=3)),
]
EVENTS = {"reserve": '{"price": 5}'}


class Story:
    """One saga, by hand. Every move is made twice, to see that it is a pure function."""

    def __init__(self, saga):
        self.saga, self.now, self.sent = saga, NOW, []
        self._move(transition.start, "s", Begin(goods=7), NOW)

    def _move(self, move, *arguments):
        before = deepcopy(arguments)
        result, again = move(self.saga, *arguments), move(self.saga, *arguments)
        assert result == again, "same inputs, same outputs"
        assert arguments == before, "inputs stay as they are"
        self.state, self.commands = result
        self.sent += [command.id for command in self.commands]
        return self

    def reply(self, step, action="do", outcome="done", *, data=None, attempt=1, saga_id="s"):
        if data is None:
            event = EVENTS.get(step, "{}") if action == "do" else "{}"
            problem = Problem(code=f"no_{step}", message="because").model_dump_json()
            data = event if outcome == "done" else problem
        reply = Reply(saga_id, step, action, outcome, attempt, data)
        return self._move(transition.on_reply, self.state, reply, self.now)

    def done(self, *steps):
        for step in steps:
            self.reply(step)
        return self

    def undone(self, *steps):
        for step in steps:
            self.reply(step, "undo")
        return self

    def rejected(self, step, action="do"):
        return self.reply(step, action, "rejected")

    def failed(self, step, action="do", attempt=1):
        return self.reply(step, action, "failed", attempt=attempt)

    def wait(self, **duration):
        """Let time pass, then sweep."""
        self.now += timedelta(**duration)
        return self._move(transition.on_due, self.state, self.now)

    def due(self):
        """Let time pass until the saga is due, then sweep."""
        self.now = self.state.due_at
        return self._move(transition.on_due, self.state, self.now)

    def cancel(self):
        return self._move(transition.cancel, self.state, self.now)

    def retry(self):
        return self._move(transition.retry, self.state, self.now)

    @property
    def steps(self):
        return {step.name: step.status for step in self.state.steps}

    def step(self, name):
        return next(step for step in self.state.steps if step.name == name)


@pytest.fixture
def story():
    return Story(Saga("story", start=Begin, steps=STEPS))


@pytest.fixture
def tell():
    """Begin stories of other sagas."""
    return lambda *steps, **policy: Story(Saga("story", start=Begin, steps=list(steps), **policy))
