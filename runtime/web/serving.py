"""Serving an app on a socket that others may accept from, too: no request fails when one leaves.

An instance that has others beside it takes no request before it is well. One that is told to end
accepts no more, answers all that is on its connections, each for the last time, and then ends.
"""

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from sanic.application.state import ApplicationServerInfo
from sanic.http import Stage
from sanic.http.constants import HTTP
from sanic.server import HttpProtocol
from sanic.server.loop import try_use_uvloop

from ..address import BACKLOG
from .app import App

log = logging.getLogger(__name__)

HEALTH = "/health"
# Together less than a process has to drain: closing its database and its producer takes time, too.
QUIET = 1.0  # seconds after which nobody is about to send a request on an idle connection
ANSWERED = 5.0  # seconds, from the first one on, in which what was begun is answered as usual
RELEASED = 1.0  # seconds for the answers to those who were waiting, and are let go
LOOK_EVERY = 0.02  # seconds


def serve(
    app: App, listening: socket.socket, *, beside: bool, on_ready: Callable[[], None]
) -> None:
    """Serve until SIGTERM or SIGINT; call `on_ready` once requests are accepted.

    Those `beside` others are accepted only when the app's own `/health` says that all is well.
    """
    try_use_uvloop()
    asyncio.run(_serve(app, listening, on_ready, beside=beside))


async def _serve(
    app: App, listening: socket.socket, on_ready: Callable[[], None], *, beside: bool
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    # It speaks one version alone: else each answer has an `alt-svc` with nothing in it.
    app.state.server_info.append(ApplicationServerInfo({"version": HTTP.VERSION_1}))
    server: Any = await app.create_server(
        sock=listening,
        backlog=BACKLOG,
        access_log=False,
        return_asyncio_server=True,
        asyncio_server_kwargs={"start_serving": False},
    )
    await server.startup()
    await server.before_start()
    if not beside or await _gets_well(app, stop):
        await server.start_serving()
        await server.after_start()
        on_ready()
        await stop.wait()
    server.close()
    app.ctx.events.end()
    _answer_for_the_last_time(app, server.connections)
    await _answer_all(server.connections, ANSWERED)
    await server.before_stop()
    await _answer_all(server.connections, RELEASED)
    for connection in list(server.connections):
        connection.abort()
    await server.after_stop()


async def _gets_well(app: App, stop: asyncio.Event) -> bool:
    """Return true as soon as the app is well, false when it is to stop before."""
    told = ""
    while not stop.is_set():
        answered = await ask_itself(app, HEALTH)
        status = answered.split(" ", 2)[1:2]
        if status == ["200"]:
            return True
        if answered != told:
            log.warning("takes no requests yet, as GET %s is answered %r", HEALTH, answered)
            told = answered
        await asyncio.sleep(LOOK_EVERY)
    return False


async def ask_itself(app: App, path: str) -> str:
    """Send a request to this very app, not to whoever accepts from its port; return the status."""
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    await loop.connect_accepted_socket(partial(HttpProtocol, loop=loop, app=app), theirs)
    reader, writer = await asyncio.open_unix_connection(sock=ours)
    try:
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        )
        return (await reader.readline()).decode().strip()
    finally:
        writer.close()


def _answer_for_the_last_time(app: App, connections: Collection[HttpProtocol]) -> None:
    """Let each answer to come, to what is begun and to what follows, say `Connection: close`."""
    # As response middleware, it would cost each request before, too.
    app.config.KEEP_ALIVE = False
    for connection in connections:
        if connection.http is not None:
            connection.http.keep_alive = connection.http.stage is Stage.IDLE


async def _answer_all(connections: Collection[HttpProtocol], seconds: float) -> None:
    """Wait until all connections have been closed by their last answer, or the time is up."""
    began = time.monotonic()
    while connections and time.monotonic() - began < seconds:
        await asyncio.sleep(LOOK_EVERY)
        if time.monotonic() - began >= QUIET:
            for connection in list(connections):
                connection.close_if_idle()
