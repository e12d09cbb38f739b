"""Traps in which the orders' own handlers fail or hang while `saga chaos` runs.

A trap is a trigger on the table of reservations, for those of one product: the handler is the real
one, and what becomes of it comes out of its own statement.
"""

import random
import re
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import peewee
from uuid_utils.compat import uuid7

from saga.functions.product.store import Product, Reservation
from saga.functions.user.store import User
from saga.runtime.dead_letter import DeadLetter
from saga.runtime.testing.judgement import Case
from saga.runtime.testing.request import Request

from .calls import Calls
from .load import Client
from .mishaps import Mishap

TRAP_EVERY = (3.0, 7.0)  # seconds
KINDS = FAILS, IS_REFUSED, HANGS = "failing handlers", "refused commits", "hung handlers"
CAUGHT = "product.reserve_product"  # whose handler it is
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


class Traps(Mishap):
    """Lays a trap of each kind, and orders what leads into it, one after the other.

    `address` is that of the orders' adapter, `requests` are those of its own; in `data` are logs.
    """

    every = TRAP_EVERY

    def __init__(self, data: Path, address: tuple[str, int], chance: random.Random) -> None:
        super().__init__(chance)
        self.requests: list[Request] = []
        self._data = data
        self._client = Client(Calls(address, threading.Event(), []))
        self._database: peewee.Database = Reservation._meta.database
        email = f"{uuid7().hex}@trap.example"
        self._buyer = User.create(name="a trap's", email=email, balance=Decimal(1_000_000)).id
        is_sqlite = isinstance(self._database, peewee.SqliteDatabase)
        self._acts = SQLITE if is_sqlite else POSTGRES
        self._products = {
            kind: Product.create(name="a trap", price=Decimal(1), stock=1_000_000).id
            for kind in self._acts
        }
        self._left = [*self._products]
        self._ended_before = self._ended()

    @contextmanager
    def laid(self) -> Iterator[None]:
        """Have the traps in their places in a block, at whose end all has to be at rest."""
        try:
            for kind, product in self._products.items():
                self._run(self._laying(kind, product))
            yield
        finally:
            for product in self._products.values():
                self._run([self._taking_away(product)])

    def happen(self) -> None:
        """Order what leads into the next trap."""
        if self._left:
            product = self._products[self._left.pop(0)]
            wanted = {"user_id": self._buyer, "product_id": product, "quantity": 1}
            self.requests.append(Request(wanted, key=str(uuid7())))
            self._client.place(self.requests[-1])

    def spared(self) -> Collection[str]:
        """Return whom nobody but its watchdog may end now."""
        return () if HANGS in self._left else (CAUGHT,)

    def judge(self, cases: Sequence[Case], letters: Iterable[DeadLetter]) -> Iterator[str]:
        """See that each trap has caught its order, and none but its order."""
        caught = {case.state.id: self._kind(case.request) for case in cases}
        for case in cases:
            if (kind := caught[case.state.id]) and case.code != "attempts_exhausted":
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

    def seen(self) -> dict[str, int]:
        """Count what was caught; of hung handlers, the processes that their watchdog has ended."""
        orders = [self._kind(request) for request in self.requests]
        return {kind: orders.count(kind) for kind in self._acts} | {
            HANGS: self._ended() - self._ended_before
        }

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

    def _taking_away(self, product: int) -> str:
        if self._acts is SQLITE:
            return f"DROP TRIGGER IF EXISTS trap_{product}"
        return f"DROP FUNCTION IF EXISTS trap_{product}() CASCADE"

    def _run(self, statements: Iterable[str]) -> None:
        with self._database.connection_context(), self._database.atomic():
            for statement in statements:
                self._database.execute_sql(statement)


def _quoted(text: str) -> str:
    return text.replace("'", "''")
