"""Load: clients that place orders and cancel some, as well-behaved clients of the API do.

A client repeats what had no answer, or was answered 503, with the same key; any other answer than
the promised ones ends the load, with that answer, and so does one that is about something else.
"""

import http.client
import json
import random
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Self

from saga.runtime.errors import SagaError
from saga.runtime.saga_state import IN_FLIGHT
from saga.runtime.testing.request import COMPENSATES, Request, soon_rather_than_late

RETRY_AFTER = 0.1  # seconds between two tries of a client
ANSWER_TIMEOUT = 20.0  # seconds
GIVE_UP = 300.0  # seconds without an answer, after which a client repeats no more
CANCEL_AFTER = (0.01, 1.0)  # seconds from an order's acceptance, at least and at most


class Answer(NamedTuple):
    """An answer; `status` is None where the connection was lost before it came."""

    status: int | None
    body: bytes = b""
    headers: Mapping[str, str] = {}


class Client:
    """One client, over one connection of its own; once `stopped` is set, it repeats nothing.

    `refused` gets every answer that says to come again.
    """

    def __init__(
        self, address: tuple[str, int], stopped: threading.Event, refused: list[Answer]
    ) -> None:
        # httpx would take a third of the time that the system itself takes.
        self._connection = http.client.HTTPConnection(*address, timeout=ANSWER_TIMEOUT)
        self._stopped = stopped
        self._refused = refused

    def place(self, request: Request) -> None:
        """Place an order until it is accepted; raise `SagaError` if it is refused."""
        headers = {"Content-Type": "application/json"}
        if request.key is not None:
            headers["Idempotency-Key"] = request.key
        body = json.dumps(request.wanted)
        for answer in self._answers("POST", "/orders", (202,), body, headers):
            request.tries += 1
            if answer.status == 202:
                request.told.append(_told(answer, request.wanted)["saga_id"])

    def cancel(self, request: Request) -> None:
        """Cancel an order's saga, unless it has ended; raise `SagaError` if that is refused."""
        request.cancel = "asked"
        for answer in self._answers("DELETE", f"/sagas/{request.saga_id}", (202, 409)):
            if answer.status == 409:
                self._must_have_ended(request)
            if answer.status == 202:
                request.cancel = "accepted"
                told = _told(answer, request.wanted)
                if told["saga_id"] != request.saga_id or told["status"] not in COMPENSATES:
                    raise SagaError(f"cancelled {request.saga_id}, and was told {told}")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _must_have_ended(self, request: Request) -> None:
        """Raise `SagaError` if a cancellation was refused of a saga that still runs."""
        for answer in self._answers("GET", f"/sagas/{request.saga_id}", (200,)):
            if answer.status == 200 and (status := json.loads(answer.body)["status"]) in IN_FLIGHT:
                raise SagaError(f"{request.saga_id} can't be cancelled, and is {status}")

    def _answers(
        self,
        method: str,
        path: str,
        promised: tuple[int, ...],
        body: str | None = None,
        headers: Mapping[str, str] = {},
    ) -> Iterator[Answer]:
        """Ask until one of the promised answers comes; yield what came of every try."""
        began = time.monotonic()
        while True:
            answer = self._ask(method, path, body, headers)
            yield answer
            if answer.status in promised:
                return
            if answer.status == 503:
                self._refused.append(answer)
            elif answer.status is not None:
                text = answer.body.decode()
                raise SagaError(f"{method} {path} answered {answer.status}: {text}")
            if self._stopped.wait(RETRY_AFTER):
                return
            if time.monotonic() > began + GIVE_UP:
                raise SagaError(f"{method} {path} has had no answer for {GIVE_UP:g} s")

    def _ask(self, method: str, path: str, body: str | None, headers: Mapping[str, str]) -> Answer:
        try:
            self._connection.request(method, path, body, headers)
            response = self._connection.getresponse()
            return Answer(response.status, response.read(), dict(response.getheaders()))
        except (OSError, http.client.HTTPException):
            self._connection.close()  # the next try opens another
            return Answer(None)


def _told(answer: Answer, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Read a saga; raise `SagaError` unless it is about what was asked, and says where it is."""
    told: dict[str, Any] = json.loads(answer.body)
    there = answer.headers.get("Location")
    if there != f"/sagas/{told['saga_id']}" or not wanted.items() <= told["input"].items():
        raise SagaError(f"asked for {wanted}, and was told {told}, to be found at {there}")
    return told


class Load:
    """Clients side by side, which place the orders that `wishes` holds, at `rate` per second.

    Without a rate they begin one as soon as another is answered. The share `cancels` of the orders
    is cancelled later, wherever they are then. `requests` are those that were begun, `refused` are
    the answers that said to come again. To be used in a `with` block: at its end no order is begun
    any more, and what went wrong is raised.
    """

    def __init__(
        self,
        address: tuple[str, int],
        wishes: Iterable[Request],
        clients: int = 8,
        rate: float | None = None,
        cancels: float = 0.0,
        chance: random.Random | None = None,
    ) -> None:
        self.requests: list[Request] = []
        self.refused: list[Answer] = []
        self._address = address
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
        client = Client(self._address, self._stopped, self.refused)
        try:
            self._place_all(client)
        except Exception as failure:
            self._failure = self._failure or failure
            self._stopped.set()
        finally:
            client.close()

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
