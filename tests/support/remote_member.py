"""A member of a group in a process of its own, which can stand still as a whole.

It may die, too: librdkafka 2.12 crashes now and then when a topic is made anew (its issue 4964),
which an empty broker's are. Another process takes its place then, as a supervisor sees to.
"""

import multiprocessing
import os
import signal
from collections.abc import Iterable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from saga.runtime.envelope import Record
from saga.runtime.errors import BrokerUnavailable
from saga.runtime.kafka.transport import KafkaTransport
from saga.runtime.settings import Settings
from saga.runtime.transport import Refusal

# Each is a fork of a process that has imported the most of it, which takes a second of CPU.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["saga.runtime.kafka.transport"])


class Died(Exception):
    """The process has died, and another one has taken its place: nobody has refused anything."""


class RemoteMember:
    """A transport whose calls another process makes."""

    def __init__(self, settings: Settings, group: str, topics: Sequence[str]) -> None:
        self._member = (settings, group, topics)
        self._start()

    def _start(self) -> None:
        self._answers, theirs = FORKS.Pipe()
        arguments = (theirs, *self._member)
        self._process = FORKS.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()

    def poll(self, timeout: float) -> list[Record]:
        try:
            records: list[Record] = self._call("poll", timeout)
        except Died:
            return []
        return records

    def send(self, records: Iterable[Record]) -> None:
        try:
            self._call("send", list(records))
        except Died as death:  # some may have been taken: as if the broker had gone
            raise BrokerUnavailable(str(death)) from death

    def finish(self, records: Iterable[Record]) -> None:
        """Finish a batch; raise `Died` where it is not known what has become of it."""
        self._call("finish", list(records))

    def refused(self) -> list[Refusal]:
        try:
            refused: list[Refusal] = self._call("refused")
        except Died:
            return []
        return refused

    def put_back(self, records: Sequence[Record]) -> None:
        with suppress(Died):
            self._call("put_back", list(records))

    def rewind(self) -> None:
        with suppress(Died):
            self._call("rewind")

    def check(self) -> None:
        self._call("check")

    def stand_still(self) -> None:
        os.kill(self._pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self._pid, signal.SIGCONT)

    def close(self) -> None:
        self.go_on()
        with suppress(Died):
            self._call("close")
        self._answers.close()
        self._process.kill()
        self._process.join()

    @property
    def _pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def _call(self, name: str, *arguments: Any) -> Any:
        try:
            self._answers.send((name, arguments))
            answer = self._answers.recv()
        except (EOFError, OSError):
            self._process.join()
            status = self._process.exitcode
            self._start()
            raise Died(f"{name} ended with {status}") from None
        if isinstance(answer, BrokerUnavailable):
            raise answer
        return answer


def _serve(calls: Connection, settings: Settings, group: str, topics: Sequence[str]) -> None:
    member, name = KafkaTransport(settings, group, topics), ""
    while name != "close":
        name, arguments = calls.recv()
        try:
            calls.send(getattr(member, name)(*arguments))
        except BrokerUnavailable as error:
            calls.send(error)
