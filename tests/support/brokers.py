"""Brokers under test: each makes topics and members, goes away, and comes back."""

import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from pathlib import Path
from subprocess import Popen

from saga.runtime.dead_letter import SUFFIX
from saga.runtime.envelope import Record
from saga.runtime.errors import BrokerUnavailable
from saga.runtime.kafka.admin import create_topics
from saga.runtime.kafka.transport import KafkaTransport
from saga.runtime.settings import Settings
from saga.runtime.simulation.broker import SimulatedBroker
from saga.runtime.simulation.transport import SimulatedTransport
from saga.runtime.transport import Transport

from .remote_member import RemoteMember
from .waiting import wait_until

POLL = 0.05  # seconds that one poll waits
LOST = 120.0  # seconds until what must come counts as lost

_numbers = count()


def group() -> str:
    """Name a new group."""
    return f"group-{next(_numbers)}"


def record(topic: str, number: int, key: str = "k", size: int = 0) -> Record:
    """Make a record that is told by its number, padded to a size."""
    return Record(topic, key.encode(), b"%d" % number + b" " * size, [("ce_id", b"%d" % number)])


def values(records: Sequence[Record]) -> list[int]:
    """Return the numbers of records."""
    return [int(record.value or b"-1") for record in records]


def poll_one(member: Transport) -> list[Record]:
    """Poll until there is a batch."""
    batch: list[Record] = wait_until(lambda: member.poll(POLL), "a batch comes", LOST)
    return batch


def read(member: Transport, wanted: int, *, finish: bool = True) -> list[Record]:
    """Poll until so many records are here, then make sure that no more come."""
    records: list[Record] = []
    while len(records) < wanted:
        records += poll_one(member)
        if finish:
            member.finish([])
    assert values(member.poll(POLL)) == []
    return records


def read_until(member: Transport, number: int) -> list[int]:
    """Poll until a record is here, and finish what comes before it; return all numbers."""
    got: list[int] = []

    def came() -> bool:
        got.extend(values(member.poll(POLL)))
        if number in got:
            return True
        member.finish([])
        return False

    wait_until(came, f"record {number} comes", LOST)
    return got


def send_until_taken(member: Transport, record: Record) -> None:
    """Send a record again and again until the broker takes it."""

    def taken() -> bool:
        try:
            member.send([record])
        except BrokerUnavailable:
            return False
        return True

    wait_until(taken, "a record is taken", LOST)


class Broker(ABC):
    """A broker under test."""

    def __init__(self) -> None:
        self._topics: dict[str, int] = {}
        self._open: list[Transport] = []

    def topic(self, partitions: int = 1, *, letters: bool = False) -> str:
        """Make a topic, and where wanted the one of its dead letters."""
        name = f"contract.{next(_numbers)}"
        self._topics[name] = partitions
        if letters:
            self._topics[name + SUFFIX] = 1
        self._make_topics()
        return name

    def member(self, group: str, *topics: str) -> Transport:
        """Let a member join, to be closed at the end."""
        return self._opened(self._make_member(group, topics))

    def leave(self, member: Transport) -> None:
        """Let a member go without a commit of its own."""
        self._open.remove(member)
        member.close()

    def close(self) -> None:
        """Close all members, side by side: most of what each takes is waiting."""
        with ThreadPoolExecutor() as threads:
            list(threads.map(lambda member: member.close(), self._open))

    @abstractmethod
    def away(self) -> AbstractContextManager[None]:
        """Let the broker be away in a `with` block."""

    @abstractmethod
    def restart_empty(self) -> None:
        """Let the broker forget all records, offsets and groups; the topics are made again."""

    @abstractmethod
    def member_elsewhere(self, group: str, *topics: str) -> Transport:
        """Let a member join from a process of its own, which can stand still, or die."""

    @abstractmethod
    def stand_still(self, member: Transport) -> None:
        """Let such a member do nothing, so that its session runs out."""

    @abstractmethod
    def go_on(self, member: Transport) -> None:
        """Let such a member do what it is told again."""

    @abstractmethod
    def _make_topics(self) -> None: ...

    @abstractmethod
    def _make_member(self, group: str, topics: Sequence[str]) -> Transport: ...

    def _opened(self, member: Transport) -> Transport:
        self._open.append(member)
        return member


class Simulated(Broker):
    """The simulated broker."""

    def __init__(self) -> None:
        super().__init__()
        self._broker: SimulatedBroker | None = None

    @contextmanager
    def away(self) -> Iterator[None]:
        self._there().available = False
        yield
        self._there().available = True

    def restart_empty(self) -> None:
        self._there().restart_empty()

    def member_elsewhere(self, group: str, *topics: str) -> Transport:
        return self.member(group, *topics)

    def stand_still(self, member: Transport) -> None:
        member.close()  # which is what the end of its session looks like to the group

    def go_on(self, member: Transport) -> None: ...

    def _make_topics(self) -> None: ...

    def _make_member(self, group: str, topics: Sequence[str]) -> Transport:
        return SimulatedTransport(self._there(), group, topics)

    def _there(self) -> SimulatedBroker:
        self._broker = self._broker or SimulatedBroker(self._topics)
        return self._broker


class Server:
    """A real broker's process, which can be killed and started again."""

    def __init__(
        self, settings: Settings, launch: Callable[[Path, Path], "Popen[bytes]"], folder: Path
    ) -> None:
        self.settings = settings
        self._launch = launch
        self._data = folder / "data"
        self._log = folder / "log"
        self.start()

    def start(self) -> None:
        """Start it."""
        self._process = self._launch(self._data, self._log)

    def wipe(self) -> None:
        """Remove all that it keeps, while it does not run."""
        shutil.rmtree(self._data)

    def kill(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()


class Real(Broker):
    """A broker that is a process of its own."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server = server

    @contextmanager
    def away(self) -> Iterator[None]:
        self._server.kill()
        try:
            yield
        finally:
            self._server.start()
            self._make_topics()

    def restart_empty(self) -> None:
        with self.away():
            self._server.wipe()

    def member_elsewhere(self, group: str, *topics: str) -> Transport:
        return self._opened(RemoteMember(self._server.settings, group, topics))

    def stand_still(self, member: Transport) -> None:
        assert isinstance(member, RemoteMember)
        member.stand_still()

    def go_on(self, member: Transport) -> None:
        assert isinstance(member, RemoteMember)
        member.go_on()

    def _make_topics(self) -> None:
        create_topics(self._server.settings, self._topics)

    def _make_member(self, group: str, topics: Sequence[str]) -> Transport:
        return KafkaTransport(self._server.settings, group, topics)
