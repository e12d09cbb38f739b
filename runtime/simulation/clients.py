"""The clients and the operator of a simulation, who act through the stores as the adapters do."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from uuid import UUID

from .. import crash, saga_queries
from ..database.connection import UNAVAILABLE
from ..envelope import Envelope
from ..errors import BrokerUnavailable, Conflict
from ..message import Message
from ..saga import Saga
from ..saga_store import SagaRow, SagaStore, Start
from ..transition import Transition
from .process import Killed
from .world import World

ASKING = (0.05, 2.0, 20.0)  # seconds in which clients ask for everything: one of these
OPERATOR_EVERY = 20.0  # seconds between two looks of the operator after failed sagas
ASK_AGAIN = 1.0  # seconds until a client without an answer repeats its request


class Clients:
    """Start sagas, cancel some, and retry what has failed; `accepted` are the ids they know."""

    def __init__(self, world: World, saga: Saga, messages: Sequence[Message]) -> None:
        self.accepted: list[str] = []
        self.asked = len(messages)
        self._world = world
        self._saga = saga
        self._store = SagaStore(SagaRow._meta.database)
        within = world.chance.choice(ASKING)
        for number, message in enumerate(messages, start=1):
            later = world.chance.uniform(0, within)
            world.after(later, partial(self._place, number, message))
        world.after(OPERATOR_EVERY, self._operate)

    def _place(self, number: int, message: Message) -> None:
        """Start a saga; a client that gets no answer repeats its order, with the same key."""
        world = self._world
        start = Start(str(world.uuid()), message, str(number), str(number))
        world.skew = 0.0
        try:
            self._may_be_killed("before row")
            started = self._store.start(self._saga, [start], world.moment())[0]
            if isinstance(started, Conflict):
                raise started
            state, commands = started
            world.names[state.id] = f"#{number}"
            world.tell("client", f"starts {state.id}: {_words(message)}")
            self._may_be_killed(crash.AFTER_ROW)
            self._send(commands)
            self._may_be_killed(crash.AFTER_SEND)
        except (Killed, *UNAVAILABLE):
            self._store.database.close()
            world.tell("client", f"gets no answer to order {number}")
            world.after(ASK_AGAIN, partial(self._place, number, message))
            return
        self.accepted.append(state.id)
        if world.nemesis.strikes(world.nemesis.faults.cancel):
            world.after(world.nemesis.while_long(), partial(self._cancel, state.id))

    def _cancel(self, saga_id: str) -> None:
        self._act("client", "cancels", self._store.cancel, saga_id)

    def _operate(self) -> None:
        for row in saga_queries.page(self._store.database, self.asked, status="FAILED"):
            self._act("operator", "retries", self._store.retry, row.id)
        self._world.after(OPERATOR_EVERY, self._operate)

    def _act(self, who: str, what: str, action: Callable[..., Transition], saga_id: str) -> None:
        self._world.skew = 0.0
        try:
            _, commands = action(self._saga, saga_id, self._world.moment())
            self._world.tell(who, f"{what} {saga_id}")
            self._may_be_killed(crash.AFTER_ROW)
            self._send(commands)
        except UNAVAILABLE:
            self._store.database.close()
        except (Conflict, Killed):
            pass

    def _send(self, commands: Sequence[Envelope]) -> None:
        with suppress(BrokerUnavailable):
            self._world.send(command.record() for command in commands)

    def _may_be_killed(self, point: str) -> None:
        if self._world.nemesis.strikes(self._world.nemesis.faults.crash):
            self._world.tell("adapter", f"is killed {point.replace('_', ' ')}")
            raise Killed


def _words(message: Message) -> str:
    """Show a message's fields, but for the ids."""
    return ", ".join(f"{name} {value}" for name, value in message if not isinstance(value, UUID))
