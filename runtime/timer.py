"""A timer: runs a function every so many seconds, and sends the commands that it returns."""

import threading
from collections.abc import Callable, Iterable

import peewee

from . import crash
from .clock import Clock, utcnow
from .database.connection import transaction
from .envelope import Record
from .function import Function
from .loop import Loop


class Timer(Loop):
    """Runs one function of kind `timer`."""

    def __init__(
        self,
        function: Function,
        database: peewee.Database,
        clock: Clock = utcnow,
        crash_points: crash.CrashPoints = crash.DISARMED,
    ) -> None:
        super().__init__(function.name, database, clock, crash_points)
        self.function = function

    def tick(self) -> list[Record]:
        """Run the function in one transaction; return the commands to send."""
        return self._retried(self._tick)

    def run(
        self,
        send: Callable[[Iterable[Record]], None],
        stop: threading.Event,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Tick until `stop` is set, at once again when there was something to do.

        `check` raises `BrokerUnavailable` as long as there is no sense in another try.
        """
        every = self.function.every or 0.0

        def turn() -> float:
            if self.failures:
                check()
            self._crash.reach(crash.BEFORE_HANDLER, [self.function])
            commands = self.tick()
            self._crash.reach(crash.AFTER_COMMIT, commands)
            send(commands)
            self._crash.reach(crash.AFTER_SEND, commands)
            return 0.0 if commands else every

        self._repeat(turn, stop, at_least=every)

    def _tick(self) -> list[Record]:
        with transaction(self.database):
            with self.time_limit:
                commands = self.function.handler(self.clock())
            self._crash.reach(crash.BEFORE_COMMIT, commands)
        return [command.record() for command in commands]
