"""Which traces are kept where the environment does not say: all in quiet hours, some of a flood."""

import threading
import time
from collections.abc import Callable, Sequence

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes

A_SECOND = 5  # traces that begin: so many cost a hundredth of one core


class AtMost(Sampler):
    """Keeps at most `rate` traces a second of those that begin here, for each route of its own.

    Others are dropped, whole. Up to a second's worth may be kept at once (a token bucket). `clock`
    tells seconds.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._clock = rate, clock
        self._lock = threading.Lock()
        self._left: dict[str, tuple[float, float]] = {}  # by route: how many, and since when

    def should_sample(
        self,
        parent_context: Context | None,  # noqa: ARG002 - what begins has none
        trace_id: int,  # noqa: ARG002
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,  # noqa: ARG002
        trace_state: TraceState | None = None,  # noqa: ARG002
    ) -> SamplingResult:
        """Keep a trace as long as there is room in this second."""
        # Requests are named after their routes, of which there are few; others by whoever likes.
        route = name if kind is SpanKind.SERVER else ""
        with self._lock:
            now = self._clock()
            left, since = self._left.get(route, (self._rate, now))
            left = min(self._rate, left + (now - since) * self._rate)
            keep = left >= 1
            self._left[route] = (left - keep, now)
        if keep:
            return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes)
        return SamplingResult(Decision.DROP)

    def get_description(self) -> str:
        """Say what it does, for who looks at a process."""
        return f"AtMost{{{self._rate:g}/s}}"
