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
from saga.runtime.polling import poll_until
from saga.runtime.settings import Settings
from saga.runtime.system.process import ProcessInfo
from saga.runtime.system.state import read_system

KILL_EVERY = (0.2, 1.5)  # seconds from when all are back to the next kill, at random between these
BACK_TIMEOUT = 30.0  # seconds
REPEAT_EVERY = (2.0, 6.0)  # seconds
REPEATED = 50  # records at once, at most
FREEZE_EVERY = (2.0, 8.0)  # seconds
FROZEN = (0.5, 9.0)  # seconds; the session of a group's member may run out meanwhile


class Mishap(threading.Thread, ABC):
    """Something that happens again and again, at random moments, in a `with` block.

    What happens is counted in `seen`, by `kinds`: there has to be something of each.
    """

    every: tuple[float, float]  # seconds, from and to
    kinds: Collection[str] = ()

    def __init__(self, chance: random.Random) -> None:
        super().__init__(daemon=True)
        self.chance = chance
        self.done = threading.Event()
        self.seen: Counter[str] = Counter()
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

    def missing(self) -> list[str]:
        """List the kinds of which there was nothing so far; raise what has ended it too early."""
        if self._failure is not None:
            raise self._failure
        return [kind for kind in self.kinds if not self.seen[kind]]


class Killer(Mishap):
    """Kills processes with SIGKILL, one or two at once, each as often, and never the supervisor.

    Those that are `spared` now are left alone, too; and it waits until those that it has killed are
    back: on a busy machine, nothing would ever get done between.
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

    def missing(self) -> list[str]:
        """List whom it has not killed so far."""
        alive = [process.name for process in _alive(self._data)]
        return [*super().missing(), *(f"kill of {name}" for name in alive if not self.kills[name])]

    def happen(self) -> None:
        """Kill one or two of the processes that do their work."""
        spared = self._spared()
        ready = [p for p in _alive(self._data) if p.state == "ready" and p.name not in spared]
        self.chance.shuffle(ready)
        ready.sort(key=lambda process: self.kills[process.name])
        killed = ready[: self.chance.randint(1, 2)]
        for process in killed:
            self.kills[process.name] += process.signal(signal.SIGKILL)
        poll_until(lambda: self.done.is_set() or _are_back(self._data, killed), BACK_TIMEOUT)


class Freezer(Mishap):
    """Lets a process stand still for a while; others may have taken its place when it goes on."""

    every = FREEZE_EVERY
    kinds = ("freezes",)

    def __init__(self, data: Path, chance: random.Random) -> None:
        super().__init__(chance)
        self._data = data

    def happen(self) -> None:
        """Stop one of the processes, and let it go on."""
        if alive := _alive(self._data):
            chosen = self.chance.choice(alive)
            self.seen["freezes"] += chosen.signal(signal.SIGSTOP)
            try:
                self.done.wait(self.chance.uniform(*FROZEN))
            finally:
                chosen.signal(signal.SIGCONT)


class Repeater(Mishap):
    """Sends records again that are on the topics, as one does who sets offsets back."""

    every = REPEAT_EVERY

    def __init__(self, settings: Settings, topics: Sequence[str], chance: random.Random) -> None:
        super().__init__(chance)
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
        finally:
            producer.close()


def _are_back(data: Path, killed: Sequence[ProcessInfo]) -> bool:
    """Tell whether others have taken the place of these, and do their work."""
    pids = {process.name: process.pid for process in _alive(data) if process.state == "ready"}
    return all(pids.get(one.name, one.pid) != one.pid for one in killed)


def _alive(data: Path) -> list[ProcessInfo]:
    """Return all processes that the supervisor watches."""
    processes = read_system(data).processes
    return [process for process in processes if process.kind != "supervisor" and process.pid]
