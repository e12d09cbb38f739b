"""Load on a running system."""

import http.client
import itertools
import json
import random
import threading
import time

import httpx
from uuid_utils.compat import uuid7

from saga.runtime import saga_queries
from saga.stacks import ledger
from support.system import RunningSystem
from support.waiting import DEADLINE, wait_until

RETRY_AFTER = 0.1  # seconds between two tries of a client
CANCEL_AFTER = 0.03  # seconds from an order's acceptance to its cancellation


class Traffic:
    """Orders placed all the time, of every fate; a client repeats one until it is accepted.

    Each client begins an order every `pause` seconds, or as soon as it can. With `cancels`, every
    fourth order is cancelled a little later, wherever it is then.
    """

    def __init__(
        self, system: RunningSystem, clients: int = 4, pause: float = 0.03, *, cancels: bool = False
    ) -> None:
        self.accepted: list[str] = []
        self.refused: list[httpx.Response] = []
        self._port = system.ports["orchestrator"]
        self._pause = pause
        self._cancels = cancels
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._place_many) for _ in range(clients)]
        rich, poor = system.make_user("1000000.00"), system.make_user("5.00")
        plenty, scarce = system.make_product(stock=1_000_000), system.make_product(stock=1)
        self._fates = [(rich, plenty), (poor, plenty), (rich, plenty), (rich, scarce)]
        self._settings = system.settings()
        self._open_databases()
        self._before = ledger.totals()

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def flows(self, orders: int = 30) -> None:
        """Wait until so many more orders are accepted."""
        goal = len(self.accepted) + orders
        wait_until(lambda: len(self.accepted) >= goal, f"{orders} more orders are accepted")

    def violations(self, seconds: float = DEADLINE) -> list[str]:
        """Wait until all accepted sagas have ended; return what does not fit."""
        self._open_databases()  # the connections of before may have been cut
        wait_until(lambda: not self._in_flight(), "all accepted sagas have ended", seconds)
        try:
            return ledger.violations(self.accepted, self._before)
        finally:
            self._close_databases()

    def _open_databases(self) -> None:
        self._close_databases()
        ledger.open_databases(self._settings)

    def _close_databases(self) -> None:
        for tables in ledger.TABLES.values():
            if database := tables[0]._meta.database:
                database.close()

    def _in_flight(self) -> set[str]:
        chunks = (self.accepted[n : n + 500] for n in range(0, len(self.accepted), 500))
        return set(self.accepted).difference(
            *(saga_queries.ended(ledger.sagas(), chunk) for chunk in chunks)
        )

    def _place_many(self) -> None:
        # httpx would take a third of the time that the system itself takes.
        client = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        due = time.monotonic() + random.uniform(0, self._pause)
        for number in itertools.count():
            if self._stop.wait(max(0, due - time.monotonic())):
                break
            due += self._pause
            user, product = self._fates[number % len(self._fates)]
            order = {"user_id": user, "product_id": product, "quantity": 1}
            saga_id = self._place(client, order)
            # One that could be paid: its cancellation is what leads to refunds.
            if self._cancels and saga_id is not None and number % len(self._fates) == 0:
                self._cancel(client, saga_id)
        client.close()

    def _cancel(self, client: http.client.HTTPConnection, saga_id: str) -> None:
        self._stop.wait(CANCEL_AFTER)
        try:
            client.request("DELETE", f"/sagas/{saga_id}")
            client.getresponse().read()
        except (OSError, http.client.HTTPException):
            client.close()

    def _place(self, client: http.client.HTTPConnection, order: dict[str, int]) -> str | None:
        """Place an order and return its saga's id; None where the traffic stops before."""
        headers = {"Idempotency-Key": str(uuid7()), "Content-Type": "application/json"}
        unsure = 0  # tries that may have been accepted without our knowing
        while not self._stop.is_set() or 0 < unsure < DEADLINE / RETRY_AFTER:
            try:
                client.request("POST", "/orders", json.dumps(order), headers)
                answer = client.getresponse()
                body = answer.read()
            except (OSError, http.client.HTTPException):
                client.close()
                unsure += 1
            else:
                unsure = 0
                if answer.status == 202:
                    saga_id = str(json.loads(body)["saga_id"])
                    self.accepted.append(saga_id)
                    return saga_id
                refusal = httpx.Response(answer.status, headers=answer.getheaders(), content=body)
                self.refused.append(refusal)
            time.sleep(RETRY_AFTER)
        return None
