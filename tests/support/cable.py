"""A cable between a server and its clients, which can be pulled: then nobody hears of anybody."""

import ctypes
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from support.missing import missing

HOST = "127.0.0.1"
ATTACH_FILTER, DETACH_FILTER = 26, 27  # socket options of Linux, which Python has no names for
DROP = struct.pack("HBBI", 0x06, 0, 0, 0)  # BPF: keep no byte of what comes in


class Cable:
    """Carries bytes between TCP clients and a server on loopback.

    Pulled, the kernel takes nothing more on any of its sockets, and so acknowledges nothing, as
    where a host has lost its power. Those who connect meanwhile wait, too.
    """

    def __init__(self, server: int) -> None:
        self._server = server
        self._entrance = socket.create_server((HOST, 0))
        self._ends: list[socket.socket] = []
        self.port: int = self._entrance.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def pull(self) -> None:
        """Let no byte through any more."""
        program = ctypes.create_string_buffer(DROP)
        option = struct.pack("HL", 1, ctypes.addressof(program))
        for end in (self._entrance, *self._ends):
            end.setsockopt(socket.SOL_SOCKET, ATTACH_FILTER, option)

    def plug_in(self) -> None:
        """Let new clients through; those of before have lost each other for ever."""
        self._entrance.setsockopt(socket.SOL_SOCKET, DETACH_FILTER, 0)

    def close(self) -> None:
        """Take it away."""
        self._entrance.shutdown(socket.SHUT_RDWR)
        self._accepting.join()  # it may be about to add two ends
        for end in (self._entrance, *self._ends):
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._entrance.accept()
                self._ends.append(client)
                server = socket.create_connection((HOST, self._server))
                self._ends.append(server)
                for one, other in ((client, server), (server, client)):
                    threading.Thread(target=_carry, args=(one, other), daemon=True).start()


@contextmanager
def cable(server: int) -> Iterator[Cable]:
    """Lay a cable to a port on loopback; skip where there is none that can be pulled."""
    if sys.platform != "linux":
        missing("only Linux lets a socket lose what comes in")
    laid = Cable(server)
    try:
        yield laid
    finally:
        laid.close()


def _carry(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while data := one.recv(1 << 16):
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)
