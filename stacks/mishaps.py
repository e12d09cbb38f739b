"""What goes wrong while `saga chaos` places orders: processes die or freeze, records come again."""

import random
import signal
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from saga.runtime.errors import BrokerUnavailable, NotRunning
from saga.runtime.settings import Settings
from saga.runtime.system.process import ProcessInfo
from saga.runtime.system.state import read_system

KILL_EVERY = (0.5, 2.5)  # seconds between two kills, at random between these
REPEAT_EVERY = (2.0, 6.0)  # seconds
REPEATED = 50  # records at once, at most
FREEZE_EVERY = (2.0, 8.0)  # seconds
FROZEN = (0.5, 9.0)  # seconds; the session of a group's member may run out meanwhile


class Mishap(threading.Thread, ABC):
    """Something that happens again and again, at random moments, in a `with` block."""

    every: tuple[float, float]  # seconds, from and to

    def __init__(self, chance: random.Random) -> None:
        super().__init__(daemon=True)
        self.chance = chance
        self.done = threading.Event()
        self._failure: Exception | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.join()
        if self._failure is not None:
            raise self._failure

    def run(self) -> None:
        """Let it happen at random moments, until it is done; keep what goes wrong with that."""
        try:
            while not self.done.wait(self.chance.uniform(*self.every)):
                with suppress(NotRunning, BrokerUnavailable):
                    self.happen()
        except Exception as failure:
            self._failure = failure

    @abstractmethod
    def happen(self) -> None:
        """Let it happen once."""


class Killer(Mishap):
    """Kills one process after another with SIGKILL, each as often, and never the supervisor.

    Those that are `spared` now are left alone, too.
    """

    every = KILL_EVERY

    def __init__(
        self,
        data: Path,
        chance: random.Random,
        spared: Callable[[], Collection[str]] = tuple,
    ) -> None:
        super().__init__(chance)
        self.kills: Counter[str] = Counter()
        self._data = data
        self._spared = spared

    def happen(self) -> None:
        """Kill one of the processes."""
        spared = self._spared()
        if alive := [process for process in _alive(self._data) if process.name not in spared]:
            fewest = min(self.kills[process.name] for process in alive)
            chosen = self.chance.choice([p for p in alive if self.kills[p.name] == fewest])
            self.kills[chosen.name] += chosen.signal(signal.SIGKILL)


class Freezer(Mishap):
    """Lets a process stand still for a while; others may have taken its place when it goes on."""

    every = FREEZE_EVERY

    def __init__(self, data: Path, chance: random.Random) -> None:
        super().__init__(chance)
        self.frozen = 0
        self._data = data

    def happen(self) -> None:
        """Stop one of the processes, and let it go on."""
        if alive := _alive(self._data):
            chosen = self.chance.choice(alive)
            self.frozen += chosen.signal(signal.SIGSTOP)
            try:
                self.done.wait(self.chance.uniform(*FROZEN))
            finally:
                chosen.signal(signal.SIGCONT)


class Repeater(Mishap):
    """Sends records again that are on the topics, as one does who sets offsets back."""

    every = REPEAT_EVERY

    def __init__(self, settings: Settings, topics: Sequence[str], chance: random.Random) -> None:
        super().__init__(chance)
        self.repeated = 0
        self._settings = settings
        self._topics = topics

    def happen(self) -> None:
        """Send some of the records again, each to the end of its topic."""
        from saga.runtime.kafka.producer import Producer
        from saga.runtime.kafka.reading import read_topics

        records = read_topics(self._settings, self._topics)
        again = self.chance.sample(records, min(REPEATED, len(records)))
        producer = Producer(self._settings)
        try:
            producer.send_records(again)
            self.repeated += len(again)
        finally:
            producer.close()


def _alive(data: Path) -> list[ProcessInfo]:
    """Return all processes that the supervisor watches."""
    processes = read_system(data).processes
    return [process for process in processes if process.kind != "supervisor" and process.pid]
