"""Calls of an API as a well-behaved client makes them, over one connection.

What had no answer, or was answered 503, is asked again. Any other answer was promised, or is an
error.
"""

import http.client
import threading
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from saga.runtime.errors import SagaError

RETRY_AFTER = 0.1  # seconds between two tries of a client
ANSWER_TIMEOUT = 20.0  # seconds
GIVE_UP = 300.0  # seconds without an answer, after which a client repeats no more


class Answer(NamedTuple):
    """An answer; `status` is None where the connection was lost before it came."""

    status: int | None
    body: bytes = b""
    headers: Mapping[str, str] = {}


class Calls:
    """Calls of one API; once `stopped` is set, none is repeated.

    `refused` gets every answer that says to come again.
    """

    def __init__(
        self, address: tuple[str, int], stopped: threading.Event, refused: list[Answer]
    ) -> None:
        # httpx would take a third of the time that the system itself takes.
        self._connection = http.client.HTTPConnection(*address, timeout=ANSWER_TIMEOUT)
        self._stopped = stopped
        self._refused = refused
        self._others: list[Calls] = []

    def at(self, address: tuple[str, int]) -> "Calls":
        """Return calls of another API, which are stopped and closed with these."""
        self._others.append(Calls(address, self._stopped, self._refused))
        return self._others[-1]

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
        for other in self._others:
            other.close()

    def answers(
        self,
        method: str,
        path: str,
        promised: tuple[int, ...],
        body: str | None = None,
        headers: Mapping[str, str] = {},
    ) -> Iterator[Answer]:
        """Ask until one of the promised answers comes; yield what came of every try.

        Raises `SagaError` where another one comes, or none at all.
        """
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

    def last(
        self, method: str, path: str, promised: tuple[int, ...], headers: Mapping[str, str] = {}
    ) -> Answer | None:
        """Return the promised answer; None where the calls were stopped before it came."""
        *_, answer = self.answers(method, path, promised, headers=headers)
        return answer if answer.status in promised else None

    def _ask(self, method: str, path: str, body: str | None, headers: Mapping[str, str]) -> Answer:
        try:
            self._connection.request(method, path, body, headers)
            response = self._connection.getresponse()
            return Answer(response.status, response.read(), dict(response.getheaders()))
        except (OSError, http.client.HTTPException):
            self._connection.close()  # the next try opens another
            return Answer(None)
