"""The clients and the operator of a simulation: real ones, whose network and luck are simulated."""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from .. import body, crash, intervention, saga_queries
from ..client import SagaClient
from ..database.connection import UNAVAILABLE
from ..envelope import Envelope, read_command_id
from ..errors import BrokerUnavailable, Conflict, SagaError
from ..message import Message
from ..saga import Saga
from ..saga_rows import SagaRow
from ..saga_state import IN_FLIGHT, SagaState
from ..saga_store import SagaStore, Start, Started
from ..testing.request import COMPENSATES, Request, soon_rather_than_late
from ..transition import Transition
from .invariants import trace_of
from .nemesis import UNREADABLE, Killed
from .world import World

ASKING = (0.05, 2.0, 20.0)  # seconds in which clients ask for everything: one of these
DEADLINES = (8.0, 30.0)  # seconds that sagas have in some runs, instead of their own
CANCEL_AFTER = (0.02, 20.0)  # seconds, at least and at most
BY_HAND = 0.5  # the share of failed undos that the operator does, and does not retry
OPERATOR_EVERY = 20.0  # seconds between two looks of the operator after failed sagas
ASK_AGAIN = 1.0  # seconds until a client without an answer repeats its request


class _TracedStore(SagaStore):
    """The real store, of requests that are traced."""

    def start(self, saga: Saga, requests: Sequence[Start], now: datetime) -> list[Started]:
        traced = [replace(r, traceparent=trace_of(r.saga_id)) for r in requests]
        return super().start(saga, traced, now)


class SimulatedClient(SagaClient):
    """The real client, in a process that may die: its producer and its luck are the world's."""

    def __init__(self, world: World, saga: Saga) -> None:
        self._world = world
        self._database = SagaRow._meta.database
        self._store = _TracedStore(self._database)
        self._sagas = {saga.name: saga}
        self._turn = threading.RLock()
        self._closed = False

    @property
    def database(self) -> Any:
        """Where the sagas are."""
        return self._database

    def may_be_killed(self, point: str) -> None:
        """Die here, now and then."""
        if self._world.nemesis.strikes(self._world.nemesis.faults.crash):
            self._world.tell("adapter", f"is killed {point.replace('_', ' ')}")
            raise Killed

    def send(self, commands: Sequence[Envelope]) -> None:
        """Send what a producer would send."""
        records = [command.record() for command in commands]
        self._world.invariants.asked((), records)
        self._world.send(records)

    def _new_id(self) -> UUID:
        return self._world.uuid()

    def _send(self, changed: Transition) -> SagaState:
        self.may_be_killed(crash.AFTER_ROW)
        state = super()._send(changed)
        self.may_be_killed(crash.AFTER_SEND)
        return state

    def _producer(self) -> Any:
        return self


class Clients:
    """Start sagas, cancel some, retry or skip what has failed; `requests` are what they asked."""

    def __init__(self, world: World, saga: Saga, messages: Sequence[Message]) -> None:
        self.requests: list[Request] = []
        self._world = world
        self._messages = messages
        self.saga = replace(saga, deadline=world.chance.choice((saga.deadline, *DEADLINES)))
        self._client = SimulatedClient(world, self.saga)
        within = world.chance.choice(ASKING)
        for number, message in enumerate(messages, start=1):
            request = Request(body.values(message), key=str(number))
            self.requests.append(request)
            later = world.chance.uniform(0, within)
            world.after(later, partial(self._place, request, message))
        world.after(OPERATOR_EVERY, self._operate)

    @property
    def unanswered(self) -> int:
        """How many requests have had no answer yet."""
        return sum(not request.told for request in self.requests)

    def _place(self, request: Request, message: Message) -> None:
        """Start a saga; a client that gets no answer repeats its order, with the same key."""
        world, again = self._world, partial(self._place, request, message)
        world.skew = 0.0
        request.tries += 1
        try:
            self._client.may_be_killed("before row")
            state = self._client.start(self.saga, message, request.key)
        except (Killed, *UNAVAILABLE):
            world.tell("client", f"gets no answer to order {request.key}")
            world.after(ASK_AGAIN, again)
            return
        except Exception as error:
            self._found(f"order {request.key} is answered {error!r}")
            return
        if not request.told:
            world.names[state.id] = f"#{request.key}"
            world.tell("client", f"starts {state.id}: {_words(message)}")
            self._plan(request, state.id, again)
        request.told.append(state.id)
        self._hear(request, state.status)

    def _plan(self, request: Request, saga_id: str, again: Callable[[], None]) -> None:
        """Cancel it later, or ask for it again though it was answered."""
        world, faults = self._world, self._world.nemesis.faults
        if world.nemesis.strikes(faults.cancel):
            later = soon_rather_than_late(world.chance, *CANCEL_AFTER)
            world.after(later, partial(self._cancel, request, saga_id))
        if world.nemesis.strikes(faults.duplicate):
            world.after(world.nemesis.while_long(), again)
        if world.nemesis.strikes(faults.duplicate):
            world.after(world.nemesis.while_long(), partial(self._mix_up, request))

    def _mix_up(self, request: Request) -> None:
        """Use a key again, for something else: nobody may be told that this was accepted."""
        world = self._world
        world.skew = 0.0
        other = world.chance.choice(self._messages)
        if body.values(other) == request.wanted:
            return
        with suppress(Conflict, Killed, *UNAVAILABLE):
            state = self._client.start(self.saga, other, request.key)
            self._found(f"{state.id} was given to another request's key")

    def _cancel(self, request: Request, saga_id: str) -> None:
        request.cancel = "asked"
        if state := self._act("client", "cancels", self._client.cancel, saga_id):
            request.cancel = "accepted"
            self._hear(request, state.status)

    def _operate(self) -> None:
        many = 2 * len(self.requests)
        for state in saga_queries.page(self._client.database, many, status="UNREADABLE"):
            then = (*COMPENSATES, *IN_FLIGHT, "FAILED")
            if self._act("operator", "takes up", self._client.retry, state.id, then):
                self._world.nemesis.struck[UNREADABLE] += 1
        for state in saga_queries.page(self._client.database, many, status="FAILED"):
            # Its client may have waited long enough, too.
            self._act("client", "cancels", self._client.cancel, state.id)
            self._see_to(state)
        self._world.after(OPERATOR_EVERY, self._operate)

    def _see_to(self, state: SagaState) -> None:
        """Retry failed undos, or give the function one by hand and skip it once that is done."""
        world = self._world
        for command in intervention.retry(self.saga, state, world.moment())[1]:
            step = read_command_id(command.id)[1]
            if world.invariants.is_done(command.id):
                skip = partial(self._client.skip, step=step, by="operator", reason="it is done")
                self._act("operator", f"skips {step} of", skip, state.id, (*COMPENSATES, "FAILED"))
                return
            if world.chance.random() < BY_HAND:
                world.tell("operator", f"does the undo of {step} of {state.id} by hand")
                with suppress(BrokerUnavailable):
                    world.send([command.record()])
                return
        self._act("operator", "retries", self._client.retry, state.id)

    def _hear(self, request: Request, status: str) -> None:
        try:
            request.hear(status)
        except SagaError as contradiction:
            self._found(str(contradiction))

    def _act(
        self,
        who: str,
        what: str,
        action: Callable[[str], SagaState],
        saga_id: str,
        then: Sequence[str] = COMPENSATES,
    ) -> SagaState | None:
        """Change a saga; return it if an answer said that it is changed."""
        self._world.skew = 0.0
        try:
            state = action(saga_id)
        except (Killed, *UNAVAILABLE):
            return None
        except Conflict:
            self._see_why(who, what, saga_id)
            return None
        except Exception as error:
            self._found(f"the {who} {what} {saga_id}, and is answered {error!r}")
            return None
        self._world.tell(who, f"{what} {saga_id}")
        if state.status not in then:
            self._found(f"the {who} {what} {saga_id}, and it is {state.status}")
        return state

    def _see_why(self, who: str, what: str, saga_id: str) -> None:
        """See that only a saga that has ended refuses to be cancelled."""
        with suppress(*UNAVAILABLE):
            status = saga_queries.find(self._client.database, saga_id).status
            if what == "cancels" and status in IN_FLIGHT:
                self._found(f"the {who} {what} {saga_id}, which refuses and is {status}")

    def _found(self, violation: str) -> None:
        self._world.invariants.violations.append(violation)


def _words(message: Message) -> str:
    """Show a message's fields, but for the ids."""
    return ", ".join(f"{name} {value}" for name, value in message if not isinstance(value, UUID))
