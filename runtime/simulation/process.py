"""A process in a simulation: the real worker in its real loop, one turn at a time."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

import tenacity

from .. import crash
from ..envelope import Record
from ..function import Function
from ..poison import Suspects
from ..saga_host import HostedSaga
from .database import SimulatedDatabase
from .faulty_transport import FaultyTransport
from .invariants import Ran
from .nemesis import Killed
from .observed import ObservedSagaHost, ObservedTimer, ObservedWorker
from .world import WORK, World

Hosted = Function | HostedSaga

SESSION = (1.0, 10.0)  # seconds until the group throws out one who is silent
NEVER = float("inf")
# Another process may act here while this one stands still.
BETWEEN_TRANSACTIONS = (
    crash.BEFORE_HANDLER,
    crash.AFTER_COMMIT,
    crash.AFTER_SEND,
    crash.BEFORE_SWEEP,
    crash.AFTER_SWEEP,
    crash.AFTER_SWEEP_SENT,
)
OFFSETS_WITHIN = 0.2  # seconds until a poll sees to the answers of the last batch
DEEPEST = 3  # processes that stand still at once
TRIES = 3  # of a transaction, before its whole turn counts as failed
AGAIN = (0.01, 0.3)  # seconds until a transaction is tried again


class OneTurn(threading.Event):
    """Lets a worker's loop go round once, and keeps how long it would wait then."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = False
        self.delay = 0.0  # seconds

    def is_set(self) -> bool:
        """Return True from the second time on."""
        begun, self.begun = self.begun, True
        return begun

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for nothing: the simulation lets the time pass."""
        self.delay = timeout or 0.0
        return False


class CrashPoints(crash.CrashPoints):
    """Crash points that lead to the simulation."""

    def __init__(self, reach: Callable[[str], None]) -> None:
        super().__init__("", None)
        self._reach = reach

    def reach(self, point: str, in_hand: crash.InHand) -> None:  # noqa: ARG002
        """Come to a crash point."""
        self._reach(point)


class Process:
    """One replica of a function or a saga: takes a turn when woken; `died` hears of its death."""

    def __init__(
        self,
        name: str,
        hosted: Hosted,
        database: SimulatedDatabase,
        world: World,
        died: Callable[["Process"], None],
    ) -> None:
        self.name = name
        self.hosted = hosted
        self.alive = True
        self.standing = False  # in the middle of a turn
        self._world = world
        self._database = database
        self._died = died
        self._skew = world.chance.uniform(-1, 1) * world.nemesis.faults.skew
        self._not_before = world.now
        self._next = NEVER
        points = CrashPoints(self._reach)
        self._loop = self._make_loop(points)
        self._transport: FaultyTransport | None = None
        if hosted.topics:
            self._transport = FaultyTransport(world, hosted.name, hosted.topics, self.wake, points)
        if not isinstance(self._loop, ObservedWorker):
            self.wake(world.now)

    def wake(self, when: float) -> None:
        """See to it that a turn is taken then, or as soon after it as this process can."""
        when = max(when, self._not_before, self._world.now)
        if self.alive and when < self._next:
            self._next = when
            self._world.after(when - self._world.now, lambda: self._woken(when))

    def stop(self) -> None:
        """End in good order, between two turns; one that is killed meanwhile leaves no word."""
        self.alive = False
        if self._transport is not None:
            try:
                self._transport.close()
            except Killed:
                self._lose_session(self._world.chance.uniform(*SESSION))

    def kill(self) -> None:
        """Die; the group misses this member when its session has run out."""
        if self.alive:
            self.alive = False
            self._doubt_what_is_in_hand()
            self._lose_session(self._world.chance.uniform(*SESSION))
            self._died(self)

    def _make_loop(self, points: CrashPoints) -> ObservedWorker | ObservedSagaHost | ObservedTimer:
        loop: ObservedWorker | ObservedSagaHost | ObservedTimer
        hosted, world = self.hosted, self._world
        if isinstance(hosted, HostedSaga):
            loop = ObservedSagaHost(hosted, self._database, world.moment, points)
            loop.heard = world.invariants.heard
        elif hosted.kind == "timer":
            loop = ObservedTimer(hosted, self._database, world.moment, points)
        else:
            owe = self._database.owe
            unreliable = world.nemesis.unreliable(hosted.name, hosted.handler, owe)
            function = replace(hosted, handler=unreliable)
            loop = ObservedWorker(function, self._database, world.moment, points)
            loop.suspects = Suspects(hosted.name, self._database, lambda: world.now)
        loop.committed = self._committed
        loop.stopwatch = lambda: world.now + world.nemesis.strikes(world.nemesis.faults.slow)
        loop.retrying = loop.retrying.copy(
            stop=tenacity.stop_after_attempt(TRIES),
            wait=lambda _: world.chance.uniform(*AGAIN),
            sleep=self._before_another_try,
        )
        return loop

    def _committed(self, records: Sequence[Record], ran: Ran, out: Sequence[Record]) -> None:
        if self._transport is not None and records:
            self._transport.worked_off(records, out)
        self._world.committed(self.name, records, ran, out)

    def _before_another_try(self, seconds: float) -> None:
        self._world.tell(self.name, "begins its transaction again")
        self._let_others_act(seconds)

    def _reach(self, point: str) -> None:
        """Come to a crash point: go on, stand still for a while, or die."""
        nemesis = self._world.nemesis
        if point == crash.IN_HANDLER and nemesis.ends_process:
            nemesis.ends_process = False
            self._world.tell(self.name, "dies of the message in hand")
            if self._transport is not None and len(self._transport.in_hand) == 1:
                self._world.invariants.died_of(self._transport.in_hand[0])
            raise Killed
        if nemesis.strikes(nemesis.faults.crash):
            self._world.tell(self.name, f"is killed {point.replace('_', ' ')}")
            raise Killed
        if point in BETWEEN_TRANSACTIONS and nemesis.strikes(nemesis.faults.stall):
            self._stand_still(point, nemesis.while_long())

    def _stand_still(self, point: str, seconds: float) -> None:
        """Let the others act meanwhile; they may have thrown this one out when it goes on."""
        if self._world.standing >= DEEPEST:
            return
        self._world.tell(self.name, f"stands still {point.replace('_', ' ')} for {seconds:.1f} s")
        if seconds > SESSION[0]:
            self._lose_session(SESSION[0])
        self._let_others_act(seconds)
        self._world.tell(self.name, "goes on")

    def _let_others_act(self, seconds: float) -> None:
        if self._world.standing >= DEEPEST:
            return
        self._doubt_what_is_in_hand()
        self._world.standing += 1
        self._world.pass_time(seconds)
        self._world.standing -= 1
        if not self.alive:
            raise Killed
        self._enter()

    def _doubt_what_is_in_hand(self) -> None:
        """Let it count as what has ended this process, for whoever takes it in hand meanwhile."""
        if self._transport is not None:
            self._world.invariants.doubted(self._transport.in_hand)

    def _lose_session(self, seconds: float) -> None:
        if self._transport is not None:
            self._world.after(seconds, self._transport.lose_session)

    def _woken(self, when: float) -> None:
        if when != self._next:
            return  # woken earlier, meanwhile
        self._next = NEVER
        if self.alive and not self.standing:
            self._enter()
            self._take_turn()

    def _take_turn(self) -> None:
        turn = OneTurn()
        self.standing = True
        try:
            if isinstance(self._loop, ObservedTimer):
                self._loop.run(self._world.send, turn, self._world.check)
            elif self._transport is not None:
                self._loop.run(self._transport, turn)
        except Killed:
            self.kill()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a handler's sys.exit() would end a real one, too
            self._world.invariants.violations.append(f"{self.name} ended with {error!r}")
            self.kill()
        finally:
            self.standing = False
        self._rest(turn.delay)

    def _rest(self, delay: float) -> None:
        """Decide when the next turn is due."""
        now = self._world.now
        self._not_before = now + max(delay, self._world.chance.uniform(*WORK))
        if isinstance(self._loop, ObservedSagaHost):
            self.wake(now + self._loop.next_sweep())
        if self._transport is None:
            self.wake(now + delay)
        elif not self._world.broker.available or not self._transport.positions:
            self.wake(now + 1.0)  # nothing to read, or thrown out: then a poll joins again
        else:
            if self._transport.waits_for_answers():
                self.wake(now + OFFSETS_WITHIN)
            if (ready := self._transport.next_ready()) is not None:
                self.wake(ready)

    def _enter(self) -> None:
        """Become the running process, with its clock."""
        self._world.skew = self._skew
