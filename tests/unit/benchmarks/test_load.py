"""The load's clients: what they ask, what is measured, and what ends them."""

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any

import pytest

from benchmarks import load
from benchmarks.load import Api, Run, closed_loop
from benchmarks.orders import Order, order, orders
from benchmarks.processes import Failed

OK = "HTTP/1.1 200 OK"


class Server:
    """A system that answers at once; `heard` are the numbers of the orders."""

    def __init__(self, answer: Callable[[int], Any], status: str = OK) -> None:
        self.answer, self.status = answer, status
        self.heard: list[int] = []
        self.heads: list[str] = []
        self.clients = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.clients += 1
        # However it ends: on a slow machine the loop may end before the client is seen to be gone.
        with closing(writer), suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = int(head.partition("content-length: ")[2].split("\r\n")[0])
                number = json.loads(await reader.readexactly(length))["number"]
                self.heads.append(head)
                self.heard.append(number)
                body = json.dumps(self.answer(number)).encode()
                text = f"{self.status}\r\nContent-Length: {len(body)}\r\n\r\n"
                writer.write(text.encode() + body)

    def drive(self, in_flight: int = 2, seconds: float = 0.3, used: float = 1.0) -> Run:
        """Drive it; each look at its CPU finds `used` seconds more."""
        looks = iter([{"app": 5.0}, {"app": 5.0 + used}])

        async def drive() -> Run:
            server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
            async with server:
                port = server.sockets[0].getsockname()[1]
                api = Api(port, "/orders", "prefer: wait=30\r\n", Order._asdict, bool)
                return await closed_loop(
                    api, orders(), in_flight, 0.01, seconds, lambda: next(looks)
                )

        return asyncio.run(drive())


def completes(number: int) -> bool:
    return order(number).completes


def test_every_order_is_asked_once_and_its_answer_remembered():
    server = Server(completes)
    told = server.drive().told
    assert sorted(server.heard) == list(range(len(told)))
    assert told == {number: completes(number) for number in told}


def test_as_many_clients_are_there_as_orders_are_in_flight():
    server = Server(completes)
    server.drive(in_flight=5)
    assert server.clients == 5


def test_request_is_a_post_with_the_systems_headers():
    server = Server(completes)
    server.drive()
    assert server.heads[0].startswith("POST /orders HTTP/1.1\r\n")
    assert "\r\nprefer: wait=30\r\n" in server.heads[0]


def test_orders_of_the_measured_time_have_a_latency(monkeypatch):
    server = Server(completes)

    async def until_ten_more_are_heard(*_: object) -> None:
        goal = len(server.heard) + 10
        while len(server.heard) < goal:
            await asyncio.sleep(0)

    # By the clock, a slow machine might have none.
    monkeypatch.setattr(load, "_sleep", until_ten_more_are_heard)
    began = time.monotonic()
    run = server.drive()
    took = time.monotonic() - began
    assert 2 <= len(run.latencies) < len(run.told)
    assert all(0 < seconds < took for seconds in [run.seconds, *run.latencies])


def test_cpu_is_that_of_the_measured_time():
    assert Server(completes).drive(used=3.0).cpu == {"app": 3.0}


def test_any_other_answer_ends_the_load_with_it():
    with pytest.raises(Failed, match=r"503.*no_room"):
        Server(lambda _: "no_room", "HTTP/1.1 503 Unavailable").drive(seconds=60.0)
