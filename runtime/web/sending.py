"""Sending commands, with a broker that may be away."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from itertools import chain

from ..envelope import Envelope
from ..errors import BrokerUnavailable
from .batches import Batches

log = logging.getLogger(__name__)

Send = Callable[[Sequence[Envelope]], None]

SEND_TIMEOUT = 2.0  # seconds that a request waits for the broker; the sending itself goes on


class Sending:
    """Sends commands in one thread at a time, so that an absent broker holds up no other work.

    Failing to send is no error of the request: the saga's row is there, and its host sends the
    command again.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._batches = Batches(self._send_all)
        self.drain = self._batches.drain

    async def send(self, commands: Sequence[Envelope]) -> None:
        """Send commands; return when the broker has them, or when they have to wait for it."""
        if not commands:
            return
        try:
            async with asyncio.timeout(SEND_TIMEOUT):
                await self._batches.add(commands)
        except TimeoutError:
            log.warning("the broker is slow: commands are still on their way")

    async def _send_all(self, lists: Sequence[Sequence[Envelope]]) -> list[None]:
        commands = list(chain.from_iterable(lists))
        try:
            await asyncio.to_thread(self._send, commands)
        except Exception as error:
            # Raised, it would make a client start a saga twice. One of ours needs no traceback.
            unknown = not isinstance(error, BrokerUnavailable)
            told = "%d commands not sent, their sagas' host will: %s"
            log.warning(told, len(commands), error, exc_info=unknown)
        return [None] * len(lists)
