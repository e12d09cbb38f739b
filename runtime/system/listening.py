"""The sockets that adapters accept from: one for each port, shared by all instances of an adapter.

The supervisor listens, and its adapters inherit the socket. Were each of them to listen by itself,
with SO_REUSEPORT, Linux would spread connections over their queues beforehand: those in the queue
of one that ends are reset, those of one that stands still wait for it; macOS would give all to one
of them, and any other process of this user could share the port unnoticed. What waits in the one
queue is taken by whoever accepts next, be it started only then.
"""

import socket
from collections.abc import Iterable

from ..address import listen
from ..errors import StackError
from .stack import Stack


class Listening:
    """The ports that adapters of one supervisor are reached at on a host, listened on once each."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._sockets: dict[int, tuple[str, socket.socket]] = {}  # by port, with its service

    def on_all(self, stacks: Iterable[Stack]) -> None:
        """Listen on the ports of all stacks that have one; raise as `on` does."""
        for stack in stacks:
            if stack.port is not None:
                self.on(stack)

    def on(self, stack: Stack) -> socket.socket:
        """Return what listens on a stack's port.

        Raises `StackError` where that can't be had, as it is another's, be it an adapter of ours.
        """
        port = stack.port or 0
        if port not in self._sockets:
            self._sockets[port] = stack.service, listen_for(stack, self._host)
        service, listening = self._sockets[port]
        if service != stack.service:
            raise StackError(f"port {port} of {stack.service} can't be had: it is {service}'s")
        return listening

    def only_on(self, ports: Iterable[int | None]) -> None:
        """Leave all other ports: once their adapters have ended, too, who calls is refused."""
        for port in self._sockets.keys() - set(ports):
            self._sockets.pop(port)[1].close()


def listen_for(stack: Stack, host: str) -> socket.socket:
    """Listen on a stack's port; raise `StackError`, which names it, where that can't be had."""
    try:
        return listen(host, stack.port or 0)
    except OSError as error:
        where = f"port {stack.port} of {stack.service} on {host}"
        raise StackError(f"{where} can't be had: {error.strerror}") from None
