"""The load: clients side by side, each with an order on its way at any time, over HTTP.

A closed loop: who is slow is asked less. The client is a small one, to leave the machine to what is
measured.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .orders import Order
from .processes import Failed

HOST = "127.0.0.1"


class Api(NamedTuple):
    """Where a system takes orders, and how; `read` tells from an answer whether one completed."""

    port: int
    path: str
    headers: str
    body: Callable[[Order], Any]
    read: Callable[[Any], bool]


@dataclass
class Run:
    """What came of a load.

    `latencies` are the seconds that those orders took which ended in the measured time, `cpu` those
    of each part of the system in the `seconds` of it; `told` is about all orders.
    """

    latencies: list[float] = field(default_factory=list)
    told: dict[int, bool] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    measured: bool = False
    over: bool = False


async def closed_loop(
    api: Api,
    orders: Iterator[Order],
    in_flight: int,
    warm_up: float,
    seconds: float,
    cpu: Callable[[], dict[str, float]],
) -> Run:
    """Keep so many orders in flight, for `warm_up` seconds and then, measured, for `seconds`.

    Raises `Failed` for an answer that is not 200, and what `api.read` raises.
    """
    run = Run()
    clients = [asyncio.create_task(place_orders(api, orders, run)) for _ in range(in_flight)]
    try:
        await _sleep(warm_up, clients)
        before, began = cpu(), time.monotonic()
        run.measured = True
        await _sleep(seconds, clients)
        run.measured = False
        run.seconds, after = time.monotonic() - began, cpu()
        run.cpu = {part: used - before[part] for part, used in after.items()}
        run.over = True
        await asyncio.gather(*clients)
    finally:
        for client in clients:
            client.cancel()
    return run


async def _sleep(seconds: float, clients: list["asyncio.Task[None]"]) -> None:
    """Sleep, unless a client fails: what it met is raised."""
    failed, _ = await asyncio.wait(clients, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    for client in failed:
        client.result()


async def place_orders(api: Api, orders: Iterator[Order], run: Run) -> None:
    """Place one order after the other, until the run is over; raise as `closed_loop` does."""
    reader, writer = await asyncio.open_connection(HOST, api.port)
    try:
        while not run.over:
            one = next(orders)
            began = time.monotonic()
            writer.write(request(api, one))
            answer = await read_answer(reader)
            run.told[one.number] = api.read(answer)
            if run.measured:
                run.latencies.append(time.monotonic() - began)
    finally:
        writer.close()


def request(api: Api, one: Order) -> bytes:
    """Return an order as it is asked over HTTP."""
    body = json.dumps(api.body(one)).encode()
    head = (
        f"POST {api.path} HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\n"
        f"{api.headers}content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def read_answer(reader: asyncio.StreamReader) -> Any:
    """Read what was answered; raise `Failed` where that is not 200."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    status, *lines = head.split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines if line)
    body = await reader.readexactly(int(headers["content-length"]))
    if status.split()[1] != "200":
        raise Failed(f"answered {status}: {body.decode()}")
    return json.loads(body)
