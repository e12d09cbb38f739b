"""Traps in which the orders' own handlers fail or hang while `saga chaos` runs.

A trap is a trigger on the table of reservations, for those of one product: the handler is the real
one, and what becomes of it comes out of its own statement. What hangs is ended by the signal that
its watchdog would send, and sooner, as all orders of all products wait for it meanwhile.
"""

import json
import random
import re
import signal
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import peewee

from saga.functions.product.messages import ReserveProduct
from saga.functions.product.store import Reservation
from saga.runtime.dead_letter import DeadLetter
from saga.runtime.polling import poll_until
from saga.runtime.system.process import ProcessInfo
from saga.runtime.system.state import read_system
from saga.runtime.testing.judgement import EXCUSES, Case
from saga.runtime.testing.request import Request

from .buyer import Buyer
from .mishaps import Mishap

TRAP_EVERY = (2.0, 5.0)  # seconds
LOOK_EVERY = 0.5  # seconds
HANGS_AFTER = 1.5  # seconds; other batches take half a second
KINDS = FAILS, IS_REFUSED, HANGS = "failing handlers", "refused commits", "hung handlers"
CAUGHT = "product.reserve_product"  # whose handler it is
CAUGHT_STEP = ReserveProduct.step_name()
SET_ASIDE = "processes have ended with this message in hand"
# How `faulthandler` names the function that a process was ended in.
ENDED_IN = re.compile(r"line \d+ in reserve_product$", re.MULTILINE)

TOO_LONG = "a trap " * 200_000  # for any broker
FOR_EVER = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n FROM n) SELECT max(n) FROM n"
# Without foreign keys, SQLite refuses no COMMIT.
SQLITE = {FAILS: f"SELECT RAISE(ABORT, '{TOO_LONG}')", HANGS: f"SELECT ({FOR_EVER})"}
POSTGRES = {
    FAILS: f"RAISE '{TOO_LONG}'",
    IS_REFUSED: "RAISE 'a trap' USING ERRCODE = 'integrity_constraint_violation'",
    HANGS: "PERFORM pg_sleep(3600)",
}

# Who has locked the byte of the shared memory that the one who writes has to lock.
LOCKS = Path("/proc/locks")
SQLITE_WRITER = r"(?m)ADVISORY +WRITE (\d+) \S+:{} 120 120$"
POSTGRES_STUCK = """SELECT pid FROM pg_stat_activity
    WHERE wait_event = 'PgSleep' AND datname = current_database()"""
# A trap's name is that of nothing else.
SQLITE_LAID = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND name GLOB 'trap_[0-9]*'"
POSTGRES_LAID = "SELECT proname || '()' FROM pg_proc WHERE proname ~ '^trap_[0-9]+$'"


class Traps(Mishap):
    """Lays a trap of each kind, and orders what leads into it, one after the other.

    `address` is that of the orders' adapter, where its `buyer` orders; in `data` are logs.
    """

    every = TRAP_EVERY

    def __init__(self, data: Path, address: tuple[str, int], chance: random.Random) -> None:
        super().__init__(chance)
        self.buyer = Buyer(address, "trap")
        self._data = data
        self._database: peewee.Database = Reservation._meta.database
        is_sqlite = isinstance(self._database, peewee.SqliteDatabase)
        self._acts = SQLITE if is_sqlite else POSTGRES
        self._products = {kind: self.buyer.product() for kind in self._acts}
        self.kinds = self._products.keys()
        self._hangs = False  # or may at any moment
        self._ended_before = self._ended()

    @contextmanager
    def laid(self) -> Iterator[None]:
        """Have the traps in their places in a block, at whose end all has to be at rest."""
        self._take_away()  # what a run that was killed has left
        try:
            for kind, product in self._products.items():
                self._run(self._laying(kind, product))
            yield
        finally:
            self.buyer.calls.close()
            self._take_away()

    def happen(self) -> None:
        """Order what leads into the next trap, and see to it that what hangs is ended."""
        for kind in self.missing()[:1]:
            self._hangs = kind == HANGS
            request = self.buyer.place(self._products[kind])
            if self._hangs:
                self._end_what_hangs(request)
            self.seen[kind] += 1
            self._hangs = False

    def spared(self) -> Collection[str]:
        """Return whom nobody but its watchdog, or whoever stands in for that, may end now."""
        return (CAUGHT,) if self._hangs else ()

    def judge(self, cases: Sequence[Case], letters: Iterable[DeadLetter]) -> Iterator[str]:
        """See that each trap has caught its order, and none but its order.

        It gives up as its attempts are used up, or, on a slow machine, its time before them.
        """
        caught = {case.state.id: self._kind(case.request) for case in cases}
        for case in cases:
            if (kind := caught[case.state.id]) and case.code not in EXCUSES:
                yield f"{case}: one of {kind}, and gave up for {case.code or 'nothing'}"
        set_aside = set()
        for letter in letters:
            hung = caught.get(letter.saga_id or "") == HANGS and SET_ASIDE in letter.reason
            if not hung:
                yield f"dead letter {letter.id}: {letter.reason}"
            set_aside.add(letter.saga_id)
        for saga_id, kind in caught.items():
            if kind == HANGS and saga_id not in set_aside:
                yield f"saga {saga_id}: one of {HANGS} was not set aside"

    def ended(self) -> int:
        """Count the processes that were ended while their handler hung."""
        return self._ended() - self._ended_before

    def _end_what_hangs(self, request: Request) -> None:
        """End each process in which an order hangs, until its saga has heard of it."""
        while self._is_unanswered(request) and not self.done.wait(LOOK_EVERY):
            # Whoever is ended in vain, with something else in hand, is not far from blaming that.
            if not poll_until(lambda: not self._is_stuck(), HANGS_AFTER):
                for process in self._caught():
                    process.signal(signal.SIGALRM)

    def _is_stuck(self) -> bool:
        """Tell whether it does what the trap wants, or is the one that writes to SQLite's file.

        Where the kernel tells no locks, as on macOS, nobody knows, and its watchdog has to end it.
        """
        if self._acts is POSTGRES:
            return self._ask(POSTGRES_STUCK) != []
        if not LOCKS.exists():
            return False
        file = Path(f"{self._database.database}-shm").stat().st_ino
        writers = re.findall(SQLITE_WRITER.format(file), LOCKS.read_text())
        return any(str(process.pid) in writers for process in self._caught())

    def _caught(self) -> list[ProcessInfo]:
        running = read_system(self._data).processes
        return [process for process in running if process.deployed == CAUGHT]

    def _is_unanswered(self, request: Request) -> bool:
        """Tell whether no handler's end was heard of so far, as far as its saga can be read."""
        *_, answer = self.buyer.calls.answers("GET", f"/sagas/{request.saga_id}", (200,))
        saga = json.loads(answer.body)
        tried = [step["attempts"] for step in saga["steps"] if step["name"] == CAUGHT_STEP]
        return tried < [2] and saga["status"] in ("RUNNING", "UNREADABLE")

    def _kind(self, request: Request) -> str | None:
        product = request.wanted["product_id"]
        return next((kind for kind, number in self._products.items() if number == product), None)

    def _ended(self) -> int:
        logs = (self._data / "logs").glob(f"{CAUGHT}*")
        return sum(len(ENDED_IN.findall(log.read_text(errors="replace"))) for log in logs)

    def _laying(self, kind: str, product: int) -> list[str]:
        name, when = f"trap_{product}", f"WHEN (NEW.product_id = {product})"
        act = self._acts[kind]
        if self._acts is SQLITE:
            return [f"CREATE TRIGGER {name} BEFORE INSERT ON reservation {when} BEGIN {act}; END"]
        body = f"BEGIN {act}; RETURN NEW; END"
        trigger = f"TRIGGER {name} BEFORE INSERT ON reservation"
        if kind == IS_REFUSED:
            trigger = f"CONSTRAINT TRIGGER {name} AFTER INSERT ON reservation INITIALLY DEFERRED"
        return [
            f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS '{_quoted(body)}'",
            f"CREATE {trigger} FOR EACH ROW {when} EXECUTE FUNCTION {name}()",
        ]

    def _take_away(self) -> None:
        is_sqlite = self._acts is SQLITE
        drop = "DROP TRIGGER {}" if is_sqlite else "DROP FUNCTION {} CASCADE"
        laid = self._ask(SQLITE_LAID if is_sqlite else POSTGRES_LAID)
        self._run([drop.format(name) for (name,) in laid])

    def _run(self, statements: Iterable[str]) -> None:
        with self._database.connection_context(), self._database.atomic():
            for statement in statements:
                self._database.execute_sql(statement)

    def _ask(self, query: str) -> list[tuple[Any, ...]]:
        with self._database.connection_context():
            return list(self._database.execute_sql(query).fetchall())


def _quoted(text: str) -> str:
    return text.replace("'", "''")
