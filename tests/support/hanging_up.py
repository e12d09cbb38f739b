"""A client that hangs up while its request is being worked on."""

import asyncio
import threading
from typing import Any

import pytest

from support.api import Api
from support.waiting import DEADLINE

Method = tuple[Any, str]  # a class or a module, and the name of what it has


def hang_up(api: Api, request: bytes, handling: Method, working: Method) -> None:
    """Send a request, and hang up in the middle of its work; let the app go on for a moment.

    The work is what `working` does in a thread; it is held up until the client's leaving has
    cancelled `handling`, which waits for it.
    """
    began, cancelled, go_on = asyncio.Event(), asyncio.Event(), threading.Event()
    handle, work = getattr(*handling), getattr(*working)

    async def watch(*args: Any) -> Any:
        try:
            return await handle(*args)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    def hold(*args: Any, **options: Any) -> Any:
        api.loop.call_soon_threadsafe(began.set)
        assert go_on.wait(DEADLINE)
        return work(*args, **options)

    async def leave() -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", api.client.port)
        writer.write(request)
        await began.wait()
        writer.close()
        await cancelled.wait()
        go_on.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*handling, watch)
        patch.setattr(*working, hold)
        api.run(asyncio.wait_for(leave(), DEADLINE))
