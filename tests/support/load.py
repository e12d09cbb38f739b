"""Load on a running system, of orders of every fate, judged by the ledger at its end."""

import itertools
from collections.abc import Collection, Iterator

import httpx
from uuid_utils.compat import uuid7

from saga.runtime.testing.judgement import EXCUSES, Judgement
from saga.runtime.testing.request import Request
from saga.stacks import ledger
from saga.stacks.load import Load
from support.system import RunningSystem
from support.waiting import DEADLINE, wait_until


class Traffic(Load):
    """Orders placed all the time; one in ten is cancelled, at some moment.

    Each client begins an order every `pause` seconds, or as soon as it can. As a rule so few that a
    slow machine comes to most of them before they are given up, whatever is away meanwhile.
    """

    def __init__(
        self,
        system: RunningSystem,
        clients: int = 4,
        pause: float = 0.4,
        cancels: float = 0.1,
    ) -> None:
        rich, poor = system.make_user("1000000.00"), system.make_user("5.00")
        plenty, scarce = system.make_product(stock=1_000_000), system.make_product(stock=1)
        self._settings = system.settings()
        self._open_databases()
        self._before = ledger.books()
        super().__init__(
            ("127.0.0.1", system.ports["orchestrator"]),
            _wishes([(rich, plenty), (poor, plenty), (rich, plenty), (rich, scarce)]),
            clients,
            rate=clients / pause,
            cancels=cancels,
        )

    def flows(self, orders: int = 10) -> None:
        """Wait until so many more orders are accepted."""
        goal = self.accepted + orders
        wait_until(lambda: self.accepted >= goal or not self.busy, f"{orders} more are accepted")
        self.check()

    def hear(self, body: dict[str, int], answer: httpx.Response) -> None:
        """Know of an order that a test has placed beside the load."""
        if answer.status_code == httpx.codes.ACCEPTED:
            self.requests.append(Request(body, told=[answer.json()["saga_id"]], tries=1))

    def violations(self, seconds: float = DEADLINE) -> list[str]:
        """Wait until all sagas have ended; return what a client could complain about."""
        self.rest(seconds)
        return self.judge().violations

    def rest(self, seconds: float = DEADLINE) -> None:
        """Wait until all sagas have ended."""
        self._open_databases()  # the connections of before may have been cut
        try:
            wait_until(lambda: not ledger.in_flight(self._before), "all have ended", seconds)
        finally:
            self._close_databases()

    def judge(self, excuses: Collection[str] = (), hit: int = 0) -> Judgement:
        """Judge all sagas, of which so many may have ended by one of the excuses besides."""
        self._open_databases()
        try:
            excused = ledger.EXCUSED + hit / len(self.requests)
            allowed = EXCUSES.union(excuses)
            return ledger.judge_orders(self.requests, self._before, allowed, excused)
        finally:
            self._close_databases()

    def _open_databases(self) -> None:
        self._close_databases()
        ledger.open_databases(self._settings)

    def _close_databases(self) -> None:
        for tables in ledger.TABLES.values():
            if database := tables[0]._meta.database:
                database.close()


def _wishes(fates: list[tuple[int, int]]) -> Iterator[Request]:
    for user, product in itertools.cycle(fates):
        body = {"user_id": user, "product_id": product, "quantity": 1}
        yield Request(body, key=str(uuid7()))
