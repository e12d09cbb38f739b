"""A client that also reads, while its orders are on their way: no answer contradicts another."""

import json
import random
import re
from typing import Any
from urllib.parse import urlencode

from saga.runtime.errors import SagaError
from saga.runtime.testing.request import Request

from .calls import Calls
from .load import UNREADABLE, Client, is_about

WAITS = 0.2  # the share of the requests that wait for an end
WAIT = 1  # second, at most
LOOKS = 0.5  # the share of the orders that are read
LIMIT = 10  # sagas on a page
NEXT = re.compile('<(.*)>; rel="next"')


class ReadingClient(Client):
    """A client that reads its sagas and orders, one by one and in lists, and waits for some.

    It raises `SagaError` where something that was accepted is not found, or is another thing than
    what was told before.
    """

    def __init__(self, calls: Calls, orders_at: tuple[str, int], chance: random.Random) -> None:
        super().__init__(calls)
        self._orders = calls.at(orders_at)
        self._chance = chance

    def place(self, request: Request, wait: int | None = None) -> None:
        """Place an order, and perhaps look for it."""
        super().place(request, self._patience() if wait is None else wait)
        self._look(request)

    def cancel(self, request: Request) -> None:
        """Cancel an order's saga, and perhaps look what has come of it."""
        super().cancel(request)
        self._look(request)

    def _patience(self) -> int | None:
        return WAIT if self._chance.random() < WAITS else None

    def _look(self, request: Request) -> None:
        """Ask for the saga, and then for it or its order in another way."""
        if not request.told or self._chance.random() >= LOOKS:
            return
        if (saga := self._saga(request)) is not None:
            ways = (self._find, self._turn_pages, self._order)
            self._chance.choice(ways)(request, saga)

    def _saga(self, request: Request) -> dict[str, Any] | None:
        wait = self._patience()
        headers = {} if wait is None else {"Prefer": f"wait={wait}"}
        answer = self._calls.last("GET", f"/sagas/{request.saga_id}", (200,), headers)
        if answer is None:
            return None
        saga = _heard(request, json.loads(answer.body))
        return None if saga["status"] == UNREADABLE else saga

    def _find(self, request: Request, saga: dict[str, Any]) -> None:
        """Find the saga by its order: it is the only one."""
        found = self._list({"order_id": saga["order_id"]})
        if found is not None and [one["saga_id"] for one in found] != [request.saga_id]:
            raise SagaError(f"{request.saga_id} is found by its order among {found}")
        for one in found or ():
            _heard(request, one)

    def _turn_pages(self, request: Request, saga: dict[str, Any]) -> None:
        """Find the saga among its user's, each of which is listed once, the oldest first."""
        found = self._list({"user_id": saga["input"]["user_id"], "limit": LIMIT})
        if found is None:
            return
        ids = [one["saga_id"] for one in found]
        if ids != sorted(set(ids)):
            raise SagaError(f"the pages of a user's sagas show {ids}")
        if request.saga_id not in ids:
            raise SagaError(f"{request.saga_id} is not among its user's sagas")
        _heard(request, found[ids.index(request.saga_id)])

    def _list(self, query: dict[str, Any]) -> list[dict[str, Any]] | None:
        """Read a list to its end; None where the calls were stopped before."""
        found: list[dict[str, Any]] = []
        path: str | None = f"/sagas?{urlencode(query)}"
        while path is not None:
            if (answer := self._calls.last("GET", path, (200,))) is None:
                return None
            found += json.loads(answer.body)
            following = NEXT.fullmatch(answer.headers.get("Link", ""))
            path = following and following[1]
        return found

    def _order(self, request: Request, saga: dict[str, Any]) -> None:
        """Ask for the order itself; it is there once its saga is completed, and is as it says."""
        path = f"/orders/{saga['order_id']}"
        if (answer := self._orders.last("GET", path, (200, 404))) is None:
            return
        order = json.loads(answer.body) if answer.status == 200 else {}
        if request.heard == "COMPLETED" and order.get("status") != "COMPLETED":
            raise SagaError(f"saga {request.saga_id} is COMPLETED, and its order {order}")
        if request.heard == "COMPENSATED" and order and order["status"] != "CANCELLED":
            raise SagaError(f"saga {request.saga_id} is COMPENSATED, and its order {order}")
        if order and not (request.wanted | {"saga_id": request.saga_id}).items() <= order.items():
            raise SagaError(f"asked for {request.wanted}, and the order is {order}")


def _heard(request: Request, saga: dict[str, Any]) -> dict[str, Any]:
    """Learn what a saga is now; raise `SagaError` where it is another one, or went back."""
    if saga["saga_id"] != request.saga_id or not is_about(saga, request.wanted):
        raise SagaError(f"{request.saga_id} is for {request.wanted}, and was told {saga}")
    request.hear(saga["status"])
    request.reads += 1
    return saga
