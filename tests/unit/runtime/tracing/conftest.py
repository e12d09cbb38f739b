"""Traces that are kept in memory."""

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler

from saga.runtime.tracing.spans import Traces


class Kept(Traces):
    """Traces whose spans can be looked at."""

    def __init__(self, group: str, prefix: str = "", sampler: Sampler | None = None) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider(sampler, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        super().__init__(provider, group, prefix)

    @property
    def spans(self):
        return self.exporter.get_finished_spans()


@pytest.fixture
def traces() -> Kept:
    return Kept("bakery.bake")


@pytest.fixture
def prefixed() -> Kept:
    return Kept("bakery.bake", "shop.")


@pytest.fixture
def eager() -> Kept:
    """Traces of which each span is kept, whatever is above it."""
    return Kept("bakery.bake", sampler=ALWAYS_ON)
