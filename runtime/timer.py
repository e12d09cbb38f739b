"""A timer: runs a function every so many seconds, and sends the commands that it returns.

One tick is one database transaction, in which its commands are stored. They are deleted when the
broker has them all; until then there is no other tick.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

import peewee

from . import crash, outbox
from .clock import Clock, microseconds, utcnow
from .database.connection import transaction
from .database.kept import kept
from .envelope import Envelope, Record
from .errors import ContractError, Tame
from .function import Function
from .loop import Loop
from .outbox import Unsent

# The clocks of two machines differ by less. A timer that is due later than this after its interval
# had a longer one, or the clock has been set back.
CLOCKS_DIFFER = timedelta(minutes=1)


class Timer(Loop):
    """Runs one function of kind `timer`; raises `ContractError` for another.

    Of many on one database, one ticks at a time, and for the others it is not due then.
    """

    def __init__(
        self,
        function: Function,
        database: peewee.Database,
        clock: Clock = utcnow,
        crash_points: crash.CrashPoints = crash.DISARMED,
    ) -> None:
        super().__init__(function.name, database, clock, crash_points)
        if function.every is None:
            raise ContractError(f"{function.name} is no timer")
        self.function = function
        self.every = timedelta(seconds=function.every)
        self._due_at = clock()
        self._tame = Tame(function.name, ContractError)
        self._may_have_left = True  # something unsent: whoever was here before may have died

    def tick(self) -> list[Unsent]:
        """Run the function in one transaction, if it is due; return the commands to send.

        Where there are some of an earlier tick, these are returned, and the function has to wait.
        """
        return self._retried(self._tick)

    def run(
        self,
        send: Callable[[Iterable[Record]], None],
        stop: threading.Event,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Tick until `stop` is set, at once again when there was something to do.

        `send` and `check` raise `BrokerUnavailable`: when the broker has not taken all, and as
        long as there is no sense in another try.
        """

        def turn() -> float:
            if self.failures:
                check()
            self._crash.reach(crash.BEFORE_HANDLER, [self.function])
            commands = self.tick()
            self._crash.reach(crash.AFTER_COMMIT, commands)
            send([command.record for command in commands])
            self._crash.reach(crash.AFTER_SEND, commands)
            if commands:
                self._retried(self._delete, commands)
            self._may_have_left = False
            return self._seconds_left()

        self._repeat(turn, stop)

    def _tick(self) -> list[Unsent]:
        now, look = self.clock(), self._may_have_left
        self._may_have_left = True  # until all is sent: this may be tried again, or not be heard of
        ended: datetime | None = None
        with transaction(self.database):
            self._due_at = outbox.lock_due(self.database, self.name, now)
            due = not now < self._due_at <= now + self.every + CLOCKS_DIFFER
            commands = self._unsent() if due or look else []
            if due:
                self._set_due(now + self.every)
            if due and not commands:
                told = self.observer.ticking(microseconds(now))
                with self.time_limit, kept(self.database), self._tame, told as parent:
                    asked = [_record(command, parent) for command in self.function.handler(now)]
                ended = self.clock()
                outbox.put(self.database, self.name, asked)
                commands = self._unsent() if asked else []
            self._crash.reach(crash.BEFORE_COMMIT, commands)
        if ended is not None:
            self.observer.ticked(microseconds(now), microseconds(ended), len(asked))
        return commands

    def _delete(self, commands: Sequence[Unsent]) -> None:
        with transaction(self.database):
            self._set_due(self.clock())
            outbox.delete(self.database, [command.number for command in commands])

    def _unsent(self) -> list[Unsent]:
        return outbox.unsent(self.database, self.name)

    def _set_due(self, due_at: datetime) -> None:
        outbox.set_due(self.database, self.name, due_at)
        self._due_at = due_at

    def _seconds_left(self) -> float:
        left = min(self.every, self._due_at - self.clock())
        return max(0.0, left.total_seconds())


def _record(command: Envelope, parent: str | None) -> Record:
    return command._replace(traceparent=command.traceparent or parent).record()
