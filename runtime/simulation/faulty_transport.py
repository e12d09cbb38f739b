"""A transport on which much goes wrong, and which watches that offsets follow the answers."""

from collections.abc import Iterable, Sequence

from .. import crash
from ..envelope import Record
from ..saga_host import NOT_SENT
from .broker import Wake
from .invariants import Offset
from .transport import SimulatedTransport
from .world import World, about


class FaultyTransport(SimulatedTransport):
    """A transport on which the nemesis loses, repeats, delays and refuses.

    It sees to it that no offset is committed before each record below it is worked off and what
    comes of it is sent: at least once, that is, whatever happens in between.
    """

    def __init__(
        self, world: World, group: str, topics: Sequence[str], wake: Wake, points: crash.CrashPoints
    ) -> None:
        super().__init__(world.broker, group, topics, wake)
        self._world = world
        self._crash = points
        self._unsent: set[Offset] = set()
        self._owed: list[Record] = []

    def poll(self, timeout: float) -> list[Record]:
        """Return what is there."""
        self._unsent, self._owed = set(), []
        return super().poll(timeout)

    def put_back(self, records: Sequence[Record]) -> None:
        """Go back to the first of these; those there was no time for stay suspect to the end."""
        in_hand = self.in_hand
        super().put_back(records)
        if self._unsent:  # the others are worked off, and all have been noted together
            self.in_hand = in_hand

    def worked_off(self, records: Sequence[Record], out: Sequence[Record]) -> None:
        """Hear that a batch is committed, or one of its records alone, and what is to be sent."""
        self._unsent |= {(r.topic, r.partition, r.offset) for r in records}
        self._owed += out

    def send(self, records: Iterable[Record]) -> None:
        """Store records, if all goes well."""
        sent = list(records)
        unsent, self._unsent = self._unsent, set()
        owed, self._owed = self._owed, []
        nemesis = self._world.nemesis
        never = [record for record in sent if nemesis.strikes(nemesis.faults.never)]
        self._world.send(record for record in sent if record not in never)
        for record in never:
            self._world.tell("broker", f"will never take {about(record)}")
            self._refuse(record, "simulated")
        nemesis.struck[NOT_SENT] += len(never)
        if sent == owed:
            self._world.invariants.answered(self._name, unsent)

    def _commit(self, batch: Sequence[Record]) -> bool:
        """Commit a batch, if all goes well; it may be committed and seem not to be."""
        self._crash.reach(crash.AFTER_TAKEN, batch)
        nemesis = self._world.nemesis
        refused = nemesis.strikes(nemesis.faults.refuse)
        if not refused or nemesis.strikes(0.5):
            before = self.committed()
            super()._commit(batch)
            self._world.invariants.offsets(self._name, before, self.committed())
        if refused:
            self._world.tell(self._name, "hears that its offsets were not committed")
        self._crash.reach(crash.AFTER_OFFSETS, batch)
        return not refused
