"""The tracing of one process: its spans, where they are made, and where they go."""

from typing import Any

from opentelemetry.sdk.trace import TracerProvider

from ..settings import Settings
from ..transport import Transport
from .exporting import start_exporting, stop_exporting
from .requests import trace_requests
from .spans import Traces
from .transport import TracedTransport


class Tracing(Traces):
    """Observes a worker or a saga's host, or an adapter's requests, until it is closed."""

    def __init__(self, name: str, settings: Settings) -> None:
        self._provider: TracerProvider = start_exporting(name, settings)
        super().__init__(self._provider, name, settings.kafka_prefix)

    def carried_by(self, transport: Transport) -> Transport:
        """Return a transport whose messages carry the contexts of their spans."""
        return TracedTransport(transport, self)

    def trace_requests(self, app: Any) -> None:
        """Let an app make a span of each request, and of each message that it sends."""
        trace_requests(app, self)

    def close(self) -> None:
        """Send what is left, for as long as a process that ends may wait."""
        stop_exporting(self._provider)
