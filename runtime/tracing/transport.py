"""A transport that makes a span of each message sent, and tells which ones records come from."""

from collections.abc import Iterable

from ..envelope import Record
from ..transport import Transport
from .spans import Traces


class TracedTransport:
    """Another transport, whose messages carry the contexts of their spans."""

    def __init__(self, transport: Transport, traces: Traces) -> None:
        self._transport = transport
        self._traces = traces
        self.put_back = transport.put_back
        self.refused = transport.refused
        self.rewind = transport.rewind
        self.check = transport.check
        self.close = transport.close

    def poll(self, timeout: float) -> list[Record]:
        """Take records in hand, and note where they come from."""
        records = self._transport.poll(timeout)
        self._traces.take(records)
        return records

    def finish(self, records: Iterable[Record]) -> None:
        """Send what came of a batch."""
        self._transport.finish([self._traces.sending(record) for record in records])
        self._traces.forget()

    def send(self, records: Iterable[Record]) -> None:
        """Send, and wait for the broker."""
        self._transport.send([self._traces.sending(record) for record in records])
