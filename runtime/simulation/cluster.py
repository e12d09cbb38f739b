"""The processes of a simulation, and what the nemesis does to them and to the broker."""

from collections.abc import Sequence
from functools import partial

from ..envelope import Envelope, Record, message_id
from ..function import Function
from ..message import Command
from .database import SimulatedDatabase
from .invariants import JUNK, JUNK_HEADERS, trace_of
from .process import Hosted, Process
from .spoilt_rows import SpoiltRows
from .world import World

Deployed = tuple[Hosted, SimulatedDatabase]

CHAOS = 60.0  # seconds in which things go wrong
REPLICAS = 3  # of a function, at most; one more where the nemesis scales
RESTART = (0.5, 3.0)  # seconds until a killed process runs again


class Cluster:
    """Runs some replicas of each function and saga, restarts what dies, and suffers the nemesis."""

    def __init__(self, world: World, deployed: Sequence[Deployed]) -> None:
        self._world = world
        self._deployed = deployed
        self._processes: list[Process] = []
        self._rows = SpoiltRows(world)
        for hosted, database in deployed:
            for number in range(world.chance.randint(1, REPLICAS)):
                self._start(f"{hosted.name}-{number + 1}", hosted, database)
        self._plan_mishaps()

    def calm(self) -> None:
        """Mend what would stay broken."""
        self._rows.mend_all()

    def _plan_mishaps(self) -> None:
        faults = self._world.nemesis.faults
        mishaps = [
            (faults.rebalances, self._rebalance),
            (faults.outages, self._take_broker_away),
            (faults.restarts, self._restart_broker),
            (faults.amnesia, self._forget_offsets),
            (faults.broken, self._break_function),
            (faults.junk, self._send_junk),
            (faults.spoilt, self._rows.spoil),
        ]
        for times, mishap in mishaps:
            for _ in range(times):
                # Early rather than late: most sagas begin at once, and soon are over.
                self._world.after(CHAOS * self._world.chance.random() ** 3, mishap)

    def _start(self, name: str, hosted: Hosted, database: SimulatedDatabase) -> None:
        def died(process: Process) -> None:
            self._processes.remove(process)
            later = self._world.chance.uniform(*RESTART)
            self._world.after(later, partial(self._start, name, hosted, database))

        self._processes.append(Process(name, hosted, database, self._world, died))

    def _rebalance(self) -> None:
        chance = self._world.chance
        hosted, database = chance.choice(self._deployed)
        here = [process for process in self._processes if process.hosted is hosted]
        idle = [process for process in here if not process.standing]
        if len(here) > 1 and idle and chance.random() < 0.5:
            leaver = chance.choice(idle)
            self._world.tell(leaver.name, "is scaled away")
            self._processes.remove(leaver)
            leaver.stop()
        elif len(here) < REPLICAS + 1:
            name = f"{hosted.name}-{chance.randint(REPLICAS + 1, 99)}"
            self._world.tell(name, "joins")
            self._start(name, hosted, database)

    def _take_broker_away(self) -> None:
        def back() -> None:
            self._world.broker.available = True
            self._world.tell("broker", "is back")

        self._world.broker.available = False
        self._world.tell("broker", "is away")
        self._world.after(self._world.nemesis.while_long(), back)

    def _restart_broker(self) -> None:
        self._world.tell("broker", "restarts empty")
        self._world.broker.restart_empty()
        self._world.invariants.forget_offsets()

    def _forget_offsets(self) -> None:
        self._world.tell("broker", "forgets all offsets")
        self._world.broker.forget_offsets()

    def _break_function(self) -> None:
        nemesis = self._world.nemesis
        commands = [f for f, _ in self._deployed if isinstance(f, Function) and f.command]
        name = self._world.chance.choice(commands).name
        nemesis.broken[name] = self._world.chance.random() < 0.3
        self._world.tell(name, "refuses everything" if nemesis.broken[name] else "is broken")
        self._world.after(self._world.chance.uniform(0, CHAOS), partial(nemesis.mend, name))

    def _send_junk(self) -> None:
        topic = self._world.chance.choice(sorted({t for h, _ in self._deployed for t in h.topics}))
        junk = Record(topic, None, JUNK, JUNK_HEADERS)
        asked = [h.command for h, _ in self._deployed if isinstance(h, Function) and h.command]
        commands = [command for command in asked if command.topic == topic]
        if commands and self._world.chance.random() < 0.5:
            junk = self._addressed(junk, commands[0])
        self._world.broker.append(junk)

    def _addressed(self, junk: Record, command: type[Command]) -> Record:
        """Make it a command of nobody's saga, of which the headers can be read."""
        saga_id = str(self._world.uuid())
        command_id = message_id(saga_id, command.step_name(), "do")
        sent = Envelope(
            topic=junk.topic,
            id=command_id,
            type=command.__name__,
            source="/junk",
            time="",
            data="",
            traceparent=trace_of(saga_id),
        ).record()
        return sent._replace(value=junk.value, headers=[*junk.headers, *sent.headers])
