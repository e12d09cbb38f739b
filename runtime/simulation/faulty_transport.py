"""A transport on which much goes wrong, and which watches that offsets follow the answers."""

from collections.abc import Iterable, Sequence

from ..envelope import Record
from ..errors import BrokerUnavailable
from .broker import SimulatedTransport, Wake
from .invariants import Offset
from .world import World


class FaultyTransport(SimulatedTransport):
    """A transport on which the nemesis loses, repeats, delays and refuses.

    It sees to it that no offset is committed before each record below it is worked off and what
    comes of it is sent: at least once, that is, whatever happens in between.
    """

    def __init__(self, world: World, group: str, topics: Sequence[str], wake: Wake) -> None:
        super().__init__(world.broker, group, topics, wake)
        self._world = world
        self._unsent: set[Offset] = set()

    def poll(self, timeout: float) -> list[Record]:
        """Return what is there."""
        self._unsent = set()
        return super().poll(timeout)

    def worked_off(self, records: Sequence[Record]) -> None:
        """Hear that all is committed that came of these records, and is to be sent now."""
        self._unsent = {(r.topic, r.partition, r.offset) for r in records}

    def send(self, records: Iterable[Record]) -> None:
        """Store records, if all goes well."""
        self._world.send(records)
        self._world.invariants.answered(self._name, self._unsent)
        self._unsent = set()

    def commit(self) -> None:
        """Commit the last batch, if all goes well; it may be committed and seem not to be."""
        nemesis = self._world.nemesis
        refused = nemesis.strikes(nemesis.faults.refuse)
        if not refused or nemesis.strikes(0.5):
            before = self.committed()
            super().commit()
            self._world.invariants.offsets(self._name, before, self.committed())
        if refused:
            self._world.tell(self._name, "hears that its offsets were not committed")
            raise BrokerUnavailable("offsets not committed: simulated")
