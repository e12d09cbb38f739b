"""A stream of server-sent events, as a client reads it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from support.api import Api


@dataclass
class Event:
    """An event; one that only tells an id, as a stream of all sagas begins with, has no kind."""

    kind: str
    id: str
    data: Any

    @property
    def change(self) -> tuple[str, int]:
        """Which entry of which saga's history it is."""
        return self.data["saga_id"], self.data["index"]


class Stream:
    """An answer that is a stream, and its events."""

    def __init__(self, response: httpx.Response) -> None:
        self.status, self.headers = response.status_code, response.headers
        self._response = response
        self._lines = response.aiter_lines()
        self._last = ""  # id, which counts until there is another one

    async def __aiter__(self) -> AsyncIterator[Event]:
        fields: dict[str, str] = {}
        async for line in self._lines:
            name, _, value = line.partition(": ")
            if line:
                fields[name] = value
            elif "id" in fields or "event" in fields:
                self._last = fields.get("id", self._last)
                data = json.loads(fields["data"]) if "data" in fields else None
                yield Event(fields.get("event", ""), self._last, data)
                fields = {}

    async def take(self, number: int) -> list[Event]:
        """Return the next so many events."""
        taken: list[Event] = []
        async for event in self:
            taken.append(event)
            if len(taken) == number:
                break
        return taken


@asynccontextmanager
async def opened(api: Api, path: str, last: str | None = None) -> AsyncIterator[Stream]:
    """Open a stream, behind the last event that was seen."""
    headers = {} if last is None else {"last-event-id": last}
    url = f"http://{api.client.host}:{api.client.port}{path}"
    async with (
        httpx.AsyncClient(timeout=30, verify=False) as client,
        client.stream("GET", url, headers=headers) as response,
    ):
        yield Stream(response)
