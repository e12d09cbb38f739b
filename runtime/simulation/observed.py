"""The real loops of a simulation, each telling what its transactions have done."""

from collections.abc import Callable, Sequence

from ..batch_loop import Read
from ..envelope import Envelope, Record
from ..inbox import Answer
from ..loop import UNAVAILABLE, Loop
from ..message import Message
from ..observer import Handled
from ..outbox import Unsent
from ..saga_host import SagaHost
from ..timer import Timer
from ..worker import Asked, Tried, Worker
from .database import SimulatedDatabase
from .invariants import Ran

Committed = Callable[[Sequence[Record], Ran, Sequence[Record]], None]


class Observed(Loop):
    """A real loop; `committed` hears of what it has read, run and sent."""

    database: SimulatedDatabase
    committed: Committed

    def _reconnect(self) -> None:
        """Reconnect, as a loop on a server's database does."""
        self.database.close()


class ObservedWorker(Observed, Worker):
    """The real worker."""

    ran: list[tuple[str, Answer]]

    def _work(self, records: Sequence[Record]) -> list[Record]:
        self.ran, commits = [], self.database.commits
        try:
            out = super()._work(records)
        except UNAVAILABLE:
            if self.database.commits > commits:  # it only seems to have failed
                self.committed([], self.ran, [])
            raise
        worked = records[: len(records) - len(self.unworked)]
        self.committed(worked, self.ran, out)
        return out

    def _answer_all(
        self, found: Sequence[Read[Asked]], undone: dict[int, Tried], *, guarded: bool
    ) -> list[Handled]:
        asked = [asked for _, asked in found]
        self.ran = [(on[0].id, answer) for n, (answer, *_) in undone.items() if (on := asked[n])]
        return super()._answer_all(found, undone, guarded=guarded)

    def _attempt(self, envelope: Envelope, message: Message, *, guarded: bool) -> Answer:
        answer = super()._attempt(envelope, message, guarded=guarded)
        self.ran.append((envelope.id, answer))
        return answer


class ObservedTimer(Observed, Timer):
    """The real timer."""

    def tick(self) -> list[Unsent]:
        """Run the function."""
        out = super().tick()
        self.committed([], [], [record for _, record in out])
        return out


class ObservedSagaHost(Observed, SagaHost):
    """The real host of a saga."""

    heard: Callable[[Sequence[Record]], None]

    def _work(self, records: Sequence[Record]) -> list[Record]:
        try:
            return super()._work(records)
        except UNAVAILABLE:
            self.heard(records)  # it may only seem to have failed
            raise

    def process(self, records: Sequence[Record]) -> list[Record]:
        """Apply replies."""
        out = super().process(records)
        self.committed(records, [], out)
        return out

    def sweep(self) -> list[Record]:
        """Act on what is due."""
        out = super().sweep()
        self.committed([], [], out)
        return out
