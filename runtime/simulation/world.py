"""The world of one simulation: its time, its chance, its broker, and the story of what happened."""

import hashlib
import heapq
import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from uuid import UUID

from ..dead_letter import SUFFIX
from ..envelope import Record
from ..errors import BrokerUnavailable
from .broker import SimulatedBroker
from .invariants import Invariants, Ran
from .nemesis import Nemesis, draw

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
WORK = (0.001, 0.05)  # seconds that a turn, or a record on its way, takes
APART = 2e-6  # seconds between two things that happen, at least: clocks count microseconds


class World:
    """All that is left to chance comes from one seed, so a seed is a run."""

    def __init__(self, seed: int, partitions: Mapping[str, int], *, story: bool) -> None:
        self.now = 0.0  # seconds since the beginning
        self.skew = 0.0  # seconds by which the running process's clock is off
        self.standing = 0  # processes in the middle of a turn that stand still
        self.chance = random.Random(seed)  # noqa: S311 - to be repeatable is its purpose
        self.nemesis = Nemesis(self.chance, draw(self.chance))
        self.broker = SimulatedBroker(partitions, lambda: self.now, self.chance)
        self.invariants = Invariants()
        self.story: list[str] | None = [] if story else None
        self.names: dict[str, str] = {}  # what the story calls a saga
        self.spoilt: dict[str, tuple[str, str]] = {}  # what rows had that can't be read, and have
        self._seen = hashlib.sha256()
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    @property
    def fingerprint(self) -> str:
        """What two runs have in common if they are the same, to the byte."""
        return self._seen.hexdigest()[:16]

    def moment(self) -> datetime:
        """Return the time on the running process's clock."""
        return BEGINNING + timedelta(seconds=self.now + self.skew)

    def uuid(self) -> UUID:
        """Make an id as UUIDv7 has it: the time first, chance behind it."""
        time = int(self.moment().timestamp() * 1000)
        tail = self.chance.getrandbits(74)
        return UUID(int=time << 80 | 7 << 76 | (tail >> 62) << 64 | 2 << 62 | tail & (2**62 - 1))

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something later."""
        heapq.heappush(self._agenda, (self.now + seconds, next(self._numbers), action))

    def pass_time(self, seconds: float) -> None:
        """Do all that is due within so many seconds."""
        until = self.now + seconds
        while self._agenda and self._agenda[0][0] <= until:
            when, _, action = heapq.heappop(self._agenda)
            self.now = max(self.now + APART, when)
            action()
        self.now = max(self.now, until)

    def calm(self) -> None:
        """Let nothing go wrong from now on."""
        self.nemesis.calm()
        self.broker.available = True
        self.tell("nemesis", "leaves it in peace")

    def send(self, records: Iterable[Record]) -> None:
        """Hand records to the broker, some of them perhaps not, twice or late.

        Raises `BrokerUnavailable` when it is away or refuses; it may have taken some, or all.
        """
        self.check()
        records = list(records)
        refused = bool(records) and self.nemesis.strikes(self.nemesis.faults.refuse)
        share = 1.0 - self.chance.random() if refused else 1.0
        taken = [record for record in records if self.chance.random() < share]
        for record in taken:
            self._send(record)
        if refused:
            whole = f"{len(taken)} of {len(records)} records"
            self.tell("broker", f"takes {whole}, and reports an error")
            raise BrokerUnavailable("simulated")

    def check(self) -> None:
        """Raise `BrokerUnavailable` when the broker is away."""
        if not self.broker.available:
            raise BrokerUnavailable("the broker does not answer")

    def committed(
        self, who: str, records: Sequence[Record], ran: Ran, out: Sequence[Record]
    ) -> None:
        """Hear of a batch that a process has committed: check it and tell it."""
        if not (records or ran or out):
            return  # most often: nothing was due
        self.invariants.worked_off(records, out)
        self.invariants.committed(ran, out)
        self.invariants.asked(records, out)
        for record in out:
            self._seen.update(repr((self.now, who, record)).encode())
        if self.story is not None:
            self._tell_batch(who, records, {command_id for command_id, _ in ran}, out)

    def tell(self, who: str, what: str) -> None:
        """Add a line to the story."""
        if self.story is not None:
            for saga_id, name in self.names.items():
                what = what.replace(saga_id, name)
            self.story.append(f"{self.now:9.3f}  {who:<28} {what}")

    def _tell_batch(
        self, who: str, records: Sequence[Record], ran: set[str], out: Sequence[Record]
    ) -> None:
        for record in records:
            if is_reply(record):
                self.tell(who, f"hears {about(record)}")
        for record in out:
            if is_reply(record):
                fresh = dict(record.headers)["ce_id"].decode().removesuffix("/reply") in ran
                self.tell(who, about(record) + ("" if fresh else ", without running it"))
            else:
                self.tell(who, f"asks for {about(record)}")

    def _send(self, record: Record) -> None:
        nemesis = self.nemesis
        if nemesis.strikes(nemesis.faults.lose):
            self.tell("broker", f"loses {about(record)}")
            return
        lag = self.chance.uniform(*WORK)
        if nemesis.strikes(nemesis.faults.delay):
            lag = nemesis.while_long()
            self.tell("broker", f"delays {about(record)} by {lag:.1f} s")
        self.broker.append(record, lag)
        if nemesis.strikes(nemesis.faults.duplicate):
            late = nemesis.while_long()
            self.tell("broker", f"will repeat {about(record)} in {late:.1f} s")
            self.after(late, partial(self.broker.append, record))


def is_reply(record: Record) -> bool:
    """Tell a reply from a command, or from what is neither."""
    return any(name == "ce_outcome" for name, _ in record.headers)


def about(record: Record) -> str:
    """Say in words what a record asks for, or answers."""
    headers = {name: value.decode() for name, value in record.headers}
    saga_id, _, rest = headers.get("ce_id", "").partition("/")
    step, _, action = rest.partition("/")
    if record.topic.endswith(SUFFIX):
        return f"dead letter on {record.topic}: {headers.get('dlq_reason')}"
    if step == "ended":
        return f"the end of {saga_id}"
    if not action:
        return f"junk on {record.topic}"
    what = f"{'undo of ' if action.startswith('undo') else ''}{step} of {saga_id}"
    if (outcome := headers.get("ce_outcome")) is None:
        attempt = headers.get("ce_attempt", "1")
        return what if attempt == "1" else f"{what}, attempt {attempt}"
    code = "" if outcome == "done" else f" ({json.loads(record.value or b'{}').get('code')})"
    return f"{what}: {outcome}{code}"
