"""What goes wrong in a simulation, and how often.

Every run draws its own mixture, in which about half of the kinds are missing: bugs that a crash
would hide show in runs without crashes (Groce et al., "Swarm Testing", ISSTA 2012).
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from pydantic import BaseModel

from ..errors import Rejected
from ..problem import INVALID_COMMAND

REFUSED = "simulated"  # the code of a refusal that the simulation itself has put there
LONG = 20.0  # seconds that something is late, at most
COMMIT_REFUSED = "commit_refused"
UNREADABLE = "unreadable"  # a saga, for a while
ENDLESS = 1_500_000  # characters; more than a broker takes


class Killed(BaseException):
    """A process dies here, as if by `kill -9`: no handler of errors may see it."""


class SimulatedFault(Exception):
    """A fault that the simulation has put into a handler."""


class UnprintableSimulatedFault(SimulatedFault):
    """One of which not even the text can be had."""

    def __str__(self) -> str:
        raise KeyError("text")


class SimulatedFaultOfATask(asyncio.CancelledError):
    """One that no `except Exception` sees."""


class SimulatedFaultThatExits(SystemExit):
    """One that would end the process."""


ODD = (UnprintableSimulatedFault, SimulatedFaultOfATask, SimulatedFaultThatExits)


@dataclass(frozen=True, slots=True)
class Faults:
    """The chance of each thing that may go wrong, per occasion; the last ones are counts."""

    crash: float = 0.0  # at a crash point
    stall: float = 0.0  # at a crash point, while the session runs out
    fault: float = 0.0  # in a handler, before or after its work
    refuse: float = 0.0  # by the broker: a sending, in part or whole, or a commit
    lose: float = 0.0  # a record
    duplicate: float = 0.0  # a record
    delay: float = 0.0  # a partition
    cancel: float = 0.0  # an order, by its client
    locked: float = 0.0  # at the begin of a transaction, or at a statement
    cut: float = 0.0  # the connection to a database, in mid-transaction
    unheard: float = 0.0  # the answer to a COMMIT
    slow: float = 0.0  # a handler, so that there is no time for the rest of its batch
    odd: float = 0.0  # what a handler raises or refuses with
    deadly: float = 0.0  # a message: whoever handles it dies
    owing: float = 0.0  # a handler: what it has written is refused by COMMIT alone
    never: float = 0.0  # a record that is sent: the broker will never take it
    unmade: float = 0.0  # the next command of a saga: its validator raises
    junk: int = 0  # records that can't be read
    spoilt: int = 0  # rows of sagas, for a while
    rebalances: int = 0  # a replica comes or goes
    outages: int = 0  # of the broker
    restarts: int = 0  # of the broker, empty
    amnesia: int = 0  # the broker forgets all offsets
    broken: int = 0  # a function fails or refuses everything, for a while
    skew: float = 0.0  # seconds by which clocks differ, at most

    def __str__(self) -> str:
        named = ((f.name, getattr(self, f.name)) for f in fields(self))
        return ", ".join(f"{name} {value:.3g}" for name, value in named if value) or "none"


CALM = Faults()
WORST = Faults(
    crash=0.04,
    stall=0.04,
    fault=0.25,
    refuse=0.1,
    lose=0.08,
    duplicate=0.2,
    delay=0.2,
    cancel=0.5,
    locked=0.3,
    cut=0.1,
    unheard=0.1,
    slow=0.3,
    odd=0.03,
    deadly=0.05,
    owing=0.1,
    never=0.015,
    unmade=0.02,
    junk=5,
    spoilt=4,
    rebalances=6,
    outages=2,
    restarts=2,
    amnesia=2,
    broken=2,
    skew=1.0,
)


def draw(chance: random.Random) -> Faults:
    """Draw a mixture: each kind is missing, or has a rate of up to its worst."""
    drawn = {}
    for field in fields(WORST):
        worst = getattr(WORST, field.name)
        there = chance.random() < 0.5
        rate = chance.randint(1, worst) if isinstance(worst, int) else worst * chance.random()
        drawn[field.name] = rate if there else type(worst)(0)
    return Faults(**drawn)


class Nemesis:
    """Decides, when it is asked, what goes wrong. `calm` ends it all."""

    def __init__(self, chance: random.Random, faults: Faults) -> None:
        self.chance = chance
        self.faults = faults
        self.broken: dict[str, bool] = {}  # functions that fail; True where they refuse instead
        self.struck: Counter[str] = Counter()  # bad items, by the code of what comes of them
        self.ends_process = False  # the message that is handled now
        self._deadly: dict[tuple[str, str], bool] = {}  # messages, by who handles them

    def calm(self) -> None:
        """Let nothing go wrong from now on."""
        self.faults = CALM
        self.broken.clear()
        self._deadly.clear()

    def mend(self, name: str) -> None:
        """Let a broken function work again."""
        self.broken.pop(name, None)

    def strikes(self, rate: float) -> bool:
        """Tell whether something of this rate goes wrong now."""
        return rate > 0 and self.chance.random() < rate

    def while_long(self) -> float:
        """Return for how many seconds something is late."""
        return self.chance.random() ** 2 * LONG

    def unmade(self) -> bool:
        """Tell whether a saga's next command can't be made."""
        struck = self.strikes(self.faults.unmade)
        self.struck[INVALID_COMMAND] += struck
        return struck

    def unreliable(
        self, name: str, handler: Callable[..., Any], owe: Callable[[], None]
    ) -> Callable[..., Any]:
        """Wrap a handler so that it fails now and then, before its work or after it.

        It may `owe` its database something, so that only a COMMIT is refused, or end the process:
        then it says so in `ends_process`, as whatever it raised would be caught.
        """

        def handle(command: Any, **key: str) -> Any:
            self.ends_process = self._is_deadly(name, command)
            if self.ends_process:
                return None
            if name in self.broken:
                if self.broken[name]:
                    self.struck[REFUSED] += 1
                    raise Rejected(REFUSED, f"{name} takes nothing")
                raise SimulatedFault("out of order")
            struck = self.strikes(self.faults.fault)
            if struck and self.chance.random() < 0.5:
                raise SimulatedFault("before its work")
            event = handler(command, **key)
            if struck:
                raise SimulatedFault("after its work")
            if self.strikes(self.faults.odd):
                self._raise_odd(name)
            if self.strikes(self.faults.owing):
                owe()
            return event

        return handle

    def _raise_odd(self, name: str) -> None:
        if self.chance.random() < 0.3:
            self.struck[REFUSED] += 1
            raise Rejected(REFUSED, name * (ENDLESS // len(name)))
        raise self.chance.choice(ODD)("oddly")

    def _is_deadly(self, name: str, message: BaseModel) -> bool:
        """Tell whether a message ends who handles it: each time, if it does once."""
        if not self.faults.deadly:
            return False
        known = (name, repr(message))
        if known not in self._deadly:
            self._deadly[known] = self.strikes(self.faults.deadly)
        return self._deadly[known]
