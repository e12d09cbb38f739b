"""Deterministic simulation: a saga's whole system in one process, from one seed.

The functions, the worker and the stores are the real ones. Time, chance and the broker are the
simulation's, so that a run takes milliseconds and can be had again (Zhou et al., "FoundationDB",
SIGMOD 2021).
"""

import logging
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from random import Random
from typing import Protocol, Self

from ..clock import clock_set_to
from ..database.schema import Table, bind
from ..message import Message
from ..poison import Suspect
from ..problem import INVALID_COMMAND
from ..saga import Saga
from ..saga_host import NOT_SENT, HostedSaga
from ..saga_rows import SagaRow
from ..saga_state import IN_FLIGHT
from ..system.stack import Stack, topics
from ..testing.judgement import Judgement
from ..testing.request import Request
from ..worker import PROCESS_ENDED
from .attempts import attempt_problems
from .clients import Clients
from .cluster import CHAOS, REPLICAS, Cluster, Deployed
from .database import SimulatedDatabase
from .nemesis import COMMIT_REFUSED, LONG, REFUSED, UNREADABLE, Nemesis
from .unmade_commands import with_unmade_commands
from .world import World

REST_TIMEOUT = 1800.0  # seconds until all must be at rest again
HURRY = 300.0  # the same where something is known to be wrong
LOOK_EVERY = 5.0  # seconds between two looks whether all is at rest
ECHOES = 0.5  # the share of runs that end with everything delivered once more
# Why sagas give up without a client's doing, and what else is bad here, each by its code.
GIVEN_UP = frozenset({REFUSED, INVALID_COMMAND, NOT_SENT})
BAD_ITEMS = (*sorted(GIVEN_UP), PROCESS_ENDED, COMMIT_REFUSED, UNREADABLE)
UNSETTLED = ("FAILED", "UNREADABLE", *IN_FLIGHT)


class Workload(Protocol):
    """What is simulated: a saga, the services that carry it out, and what clients ask of them."""

    @property
    def saga(self) -> Saga:
        """The saga."""

    @property
    def stacks(self) -> Sequence[Stack]:
        """The services."""

    def prepare(self, chance: Random) -> Sequence[Message]:
        """Fill the services' empty tables; return the start messages of the sagas to come."""

    def judge(self, requests: Sequence[Request]) -> Judgement:
        """Say what does not fit, now that all sagas have ended, and what was there to be seen."""


@dataclass(frozen=True, slots=True)
class Run:
    """What came of one seed."""

    seed: int
    faults: str
    statuses: dict[str, int]
    seen: dict[str, int]  # how many cases of each kind there were to be judged
    seconds: float  # simulated ones
    fingerprint: str
    violations: list[str]
    story: list[str]


class Simulator:
    """Runs a workload, any number of times; to be used in a `with` block.

    The tables of its services are bound to databases in memory inside of the block.
    """

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self.deployed: list[Deployed] = []
        self.partitions = topics(workload.stacks, REPLICAS)
        self._tables: dict[SimulatedDatabase, list[type[Table]]] = {}
        self._nemesis: Nemesis | None = None  # of the run that is on
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(_silence())
            databases: dict[str, SimulatedDatabase] = {}
            for service in self.workload.stacks:
                if service.database not in databases:
                    databases[service.database] = SimulatedDatabase(service.database)
                    stack.callback(databases[service.database].end)
                self._open(service, databases[service.database])
            for database, tables in self._tables.items():
                stack.enter_context(database.bind_ctx(tables))
                bind(database, tables)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, seed: int, *, story: bool = False) -> Run:
        """Run from a seed, from empty tables to rest; the same seed gives the same run."""
        for database, tables in self._tables.items():
            for table in tables:
                database.execute_sql(f'DELETE FROM "{table._meta.table_name}"')  # noqa: S608
        world = World(seed, self.partitions, story=story)
        self._nemesis = world.nemesis
        with clock_set_to(world.moment), ExitStack() as disturbed:
            simulation = _Simulation(self.workload, self.deployed, world)
            for database in self._tables:
                disturbed.enter_context(database.disturbed_by(world.nemesis, world.tell))
            sagas: SimulatedDatabase = SagaRow._meta.database
            sagas.watch = lambda: world.invariants.histories(_histories(sagas, world.spoilt))
            return simulation.run(seed)

    def _open(self, service: Stack, database: SimulatedDatabase) -> None:
        tables = self._tables.setdefault(database, [])
        for hosted, _ in service.load():
            if isinstance(hosted, HostedSaga):
                hosted = replace(hosted, saga=with_unmade_commands(hosted.saga, self._unmade))
            self.deployed.append((hosted, database))
            # In one database, services share an inbox.
            tables += [table for table in (*hosted.tables(), Suspect) if table not in tables]

    def _unmade(self) -> bool:
        return self._nemesis is not None and self._nemesis.unmade()


def _histories(
    database: SimulatedDatabase, spoilt: Collection[str]
) -> list[tuple[str, str | None]]:
    """Read all histories but of spoilt rows, past whatever disturbs the database."""
    query = f"""
        SELECT id, json_extract(state, '$.history') FROM saga
        WHERE id NOT IN ({", ".join("?" * len(spoilt))})
    """  # noqa: S608 - question marks
    return database.connection().execute(query, [*spoilt]).fetchall()  # type: ignore[no-any-return]


class _Simulation:
    """One run."""

    def __init__(self, workload: Workload, deployed: Sequence[Deployed], world: World) -> None:
        self._workload = workload
        self._world = world
        world.tell("nemesis", f"faults: {world.nemesis.faults}")
        self._cluster = Cluster(world, deployed)
        self._clients = Clients(world, workload.saga, workload.prepare(world.chance))
        self._seen: Counter[str] = Counter()

    def run(self, seed: int) -> Run:
        world, faults = self._world, self._world.nemesis.faults
        world.pass_time(CHAOS)
        world.calm()
        self._cluster.calm()
        world.pass_time(LONG)
        self._settle()
        violations = self._violations()
        if not violations and world.chance.random() < ECHOES:
            violations = self._echo()
        statuses = Counter(self._statuses().values())
        return Run(
            seed=seed,
            faults=str(faults),
            statuses=dict(sorted(statuses.items())),
            seen=dict(self._seen),
            seconds=round(world.now, 1),
            fingerprint=world.fingerprint,
            violations=violations,
            story=world.story or [],
        )

    def _settle(self) -> None:
        """Let time pass until every saga has ended and every record is read."""
        began = self._world.now
        while not self._at_rest():
            self._world.pass_time(LOOK_EVERY)
            if self._world.now - began > (
                HURRY if self._world.invariants.violations else REST_TIMEOUT
            ):
                return

    def _at_rest(self) -> bool:
        busy = SagaRow.select().where(SagaRow.status.in_(UNSETTLED)).exists()
        return not (busy or self._clients.unanswered or self._world.broker.unread())

    def _violations(self) -> list[str]:
        clients, found = self._clients, list(self._world.invariants.violations)
        if clients.unanswered:
            found.append(f"{clients.unanswered} requests were never answered")
        if unread := self._world.broker.unread():
            found.append(f"{unread} records were never read")
        judgement = self._workload.judge(clients.requests)
        struck, invariants = self._world.nemesis.struck, self._world.invariants
        struck[PROCESS_ENDED] = invariants.set_aside
        self._seen = judgement.seen + struck + Counter(duplicates=invariants.repeated)
        codes = Counter(case.code for case in judgement.cases)
        found += [
            f"{codes[code]} sagas gave up by {code}, and {struck[code]} times it was the nemesis"
            for code in sorted(GIVEN_UP)
            if codes[code] > struck[code]
        ]
        deadline = timedelta(seconds=clients.saga.deadline)
        for case in judgement.cases:
            judgement.add(case, attempt_problems(clients.saga, case, self._world.invariants.tried))
            if (given := case.state.deadline_at - case.state.created_at) != deadline:
                judgement.add(case, [f"was given {given}, not {deadline}"])
        return [self._named(text) for text in found + judgement.violations]

    def _echo(self) -> list[str]:
        """Deliver everything once more: it must change nothing."""
        before = self._statuses()
        self._world.tell("nemesis", "delivers everything once more")
        self._world.broker.forget_offsets()
        self._world.pass_time(LOOK_EVERY)
        self._settle()
        changed = [] if self._statuses() == before else ["an echo has changed how sagas ended"]
        return changed + self._violations()

    def _statuses(self) -> dict[str, str]:
        return dict(SagaRow.select(SagaRow.id, SagaRow.status).order_by(SagaRow.id).tuples())

    def _named(self, text: str) -> str:
        for saga_id, name in self._world.names.items():
            text = text.replace(saga_id, name)
        return text


@contextmanager
def _silence() -> Iterator[None]:
    """Keep the log to itself: of faults that are wanted it would be full."""
    log = logging.getLogger("saga.runtime")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(level)
