"""Ports that are free."""

import os
import socket
from collections.abc import Iterator
from contextlib import suppress

FIRST, LAST = 10_000, 20_000  # below the ports of brokers, and those that clients get
STRIDE = 397  # between where two processes begin to look: they get out of each other's way


def _candidates() -> Iterator[int]:
    while True:
        start = os.getpid() * STRIDE % (LAST - FIRST)
        yield from range(FIRST + start, LAST)
        yield from range(FIRST, FIRST + start)


_ports = _candidates()


def free_ports(count: int) -> list[int]:
    """Find ports that nobody listens on; none is given twice."""
    ports: list[int] = []
    while len(ports) < count:
        port = next(_ports)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            ports.append(port)
    return ports


def free_port() -> int:
    """Find one."""
    return free_ports(1)[0]
