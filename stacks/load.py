"""Load: clients that place orders and cancel some, as well-behaved clients of the API do.

A client repeats what had no answer, or was answered 503, with the same key; any other answer than
the promised ones ends the load, with that answer, and so does one that is about something else.
"""

import json
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

from saga.runtime.errors import SagaError
from saga.runtime.saga_state import IN_FLIGHT as RUNS
from saga.runtime.testing.request import COMPENSATES, Request, soon_rather_than_late

from .calls import Answer, Calls

UNREADABLE = "UNREADABLE"  # a saga whose row can't be read now; it says nothing of itself
CANCEL_AFTER = (0.01, 1.0)  # seconds from an order's acceptance, at least and at most


class Client:
    """One client of the orchestrator's API."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def place(self, request: Request, wait: int | None = None) -> None:
        """Place an order until it is accepted; raise `SagaError` if it is refused.

        With `wait`, the answer may be so many seconds late, to tell of the order's end.
        """
        headers = {"Content-Type": "application/json"}
        if request.key is not None:
            headers["Idempotency-Key"] = request.key
        if wait is not None:
            headers["Prefer"] = f"wait={wait}"
        promised = (202,) if wait is None else (200, 202)
        body = json.dumps(request.wanted)
        for answer in self._calls.answers("POST", "/orders", promised, body, headers):
            request.tries += 1
            if answer.status in promised:
                told = _told(answer, request.wanted)
                request.told.append(told["saga_id"])
                request.hear(told["status"])
                if wait is not None and (answer.status == 200) == (told["status"] in RUNS):
                    raise SagaError(f"answered {answer.status} to wait={wait}, and told {told}")

    def cancel(self, request: Request) -> None:
        """Cancel an order's saga, unless it has ended; raise `SagaError` if that is refused."""
        request.cancel = "asked"
        for answer in self._calls.answers("DELETE", f"/sagas/{request.saga_id}", (202, 409)):
            if answer.status == 409:
                self._must_not_be_cancelled(request, json.loads(answer.body)["code"])
            if answer.status == 202:
                request.cancel = "accepted"
                told = _told(answer, request.wanted)
                if told["saga_id"] != request.saga_id or told["status"] not in COMPENSATES:
                    raise SagaError(f"cancelled {request.saga_id}, and was told {told}")
                request.hear(told["status"])

    def _must_not_be_cancelled(self, request: Request, code: str) -> None:
        """Raise `SagaError` if a cancellation was refused of a saga that can be read and runs."""
        if code == "saga_unreadable":  # it may be mended by now
            return
        if code != "saga_ended":
            raise SagaError(f"{request.saga_id} can't be cancelled: {code}")
        answer = self._calls.last("GET", f"/sagas/{request.saga_id}", (200,))
        if answer is None:
            return
        status = json.loads(answer.body)["status"]
        if status in RUNS:
            raise SagaError(f"{request.saga_id} can't be cancelled, and is {status}")
        request.hear(status)


def _told(answer: Answer, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Read a saga; raise `SagaError` unless it is about what was asked, and says where it is."""
    told: dict[str, Any] = json.loads(answer.body)
    there = answer.headers.get("Location")
    if there != f"/sagas/{told['saga_id']}" or not is_about(told, wanted):
        raise SagaError(f"asked for {wanted}, and was told {told}, to be found at {there}")
    return told


def is_about(saga: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Tell whether a saga is the one that was asked for, as far as it can be read."""
    return bool(saga["status"] == UNREADABLE) or wanted.items() <= saga["input"].items()


class Load:
    """Clients side by side, which place the orders that `wishes` holds, at `rate` per second.

    Without a rate they begin one as soon as another is answered. The share `cancels` of the orders
    is cancelled later, wherever they are then. `requests` are those that were begun, `refused` are
    the answers that said to come again. To be used in a `with` block: at its end no order is begun
    any more, and what went wrong is raised. Each client is made of its `Calls`.
    """

    def __init__(
        self,
        address: tuple[str, int],
        wishes: Iterable[Request],
        clients: int = 8,
        rate: float | None = None,
        cancels: float = 0.0,
        chance: random.Random | None = None,
        client: Callable[[Calls], Client] = Client,
    ) -> None:
        self.requests: list[Request] = []
        self.refused: list[Answer] = []
        self._address = address
        self._client = client
        self._wishes = iter(wishes)
        self._rate = rate
        self._cancels = cancels
        self._chance = chance or random.Random(0)  # noqa: S311 - to be repeatable is its purpose
        self._turn = threading.Lock()
        self._stopped = threading.Event()
        self._taken = 0
        self._failure: Exception | None = None
        self._threads = [
            threading.Thread(target=self._guarded, daemon=True) for _ in range(clients)
        ]

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        self.check()

    @property
    def accepted(self) -> int:
        """How many orders are accepted."""
        return sum(bool(request.told) for request in self.requests)

    @property
    def busy(self) -> bool:
        """Whether there are wishes left, or requests without an answer."""
        return any(thread.is_alive() for thread in self._threads)

    def check(self) -> None:
        """Raise what has ended the load too early."""
        if self._failure is not None:
            raise self._failure

    def _guarded(self) -> None:
        calls = Calls(self._address, self._stopped, self.refused)
        try:
            self._place_all(self._client(calls))
        except Exception as failure:
            self._failure = self._failure or failure
            self._stopped.set()
        finally:
            calls.close()

    def _place_all(self, client: Client) -> None:
        while wish := self._next():
            request, due, cancel_after = wish
            if self._stopped.wait(max(0.0, due - time.monotonic())):
                break
            self.requests.append(request)
            client.place(request)
            if cancel_after is not None and request.told:
                self._stopped.wait(cancel_after)
                client.cancel(request)

    def _next(self) -> tuple[Request, float, float | None] | None:
        """Take a wish: the order, when it is due, and how long after that it is cancelled."""
        with self._turn:
            request = next(self._wishes, None)
            if request is None:
                return None
            due = self._began
            if self._rate is not None:
                due += self._taken / self._rate
            self._taken += 1
            later = soon_rather_than_late(self._chance, *CANCEL_AFTER)
            return request, due, later if self._chance.random() < self._cancels else None
