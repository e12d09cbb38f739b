"""Where spans go: over OTLP, in a thread of their own, to a collector that may be away."""

import logging
import os
import threading
import uuid
from collections.abc import Sequence

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased
from opentelemetry.semconv._incubating.attributes import service_attributes as service

from ..settings import Settings
from .sampling import A_SECOND, AtMost

log = logging.getLogger(__name__)

LAST_WORDS = 2.0  # seconds that a process which ends waits until its spans are sent
# They log each batch that is lost, and each try to send it: we tell it once.
LOQUACIOUS = ("opentelemetry.exporter", "opentelemetry.sdk._shared_internal")


class Exporter(SpanExporter):
    """Sends spans through another exporter, and tells when a collector goes away and comes back."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._away = False
        for name in LOQUACIOUS:
            logging.getLogger(name).setLevel(logging.CRITICAL)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans; what is not taken is lost."""
        result = self._exporter.export(spans)
        away = result is not SpanExportResult.SUCCESS
        if away and not self._away:
            log.warning("the collector takes no traces: they are lost meanwhile")
        elif self._away and not away:
            log.info("the collector takes traces again")
        self._away = away
        return result

    def shutdown(self) -> None:
        """Send no more."""
        self._exporter.shutdown()


def start_exporting(name: str, settings: Settings) -> TracerProvider:
    """Let spans be sent from now on, those of handlers and of libraries, too; return from where.

    The environment says where to, how often and which ones, as OpenTelemetry has it. Where it does
    not say which, a trace that begins here is kept as long as there are few.
    """
    told = {
        service.SERVICE_NAME: name,
        service.SERVICE_NAMESPACE: settings.saga_system,
        service.SERVICE_INSTANCE_ID: str(uuid.uuid4()),
    }
    if version := settings.hosted_version:
        told[service.SERVICE_VERSION] = version
    # What the environment says of the resource goes before what we know of it.
    resource = Resource(told).merge(_of_environment())
    sampler = None if "OTEL_TRACES_SAMPLER" in os.environ else ParentBased(AtMost(A_SECOND))
    provider = TracerProvider(sampler, resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(Exporter(OTLPSpanExporter())))
    trace.set_tracer_provider(provider)
    return provider


def stop_exporting(provider: TracerProvider) -> None:
    """Send what is left, for as long as a process that ends may wait."""
    stopping = threading.Thread(target=provider.shutdown, daemon=True)
    stopping.start()
    stopping.join(LAST_WORDS)


def _of_environment() -> Resource:
    found = Resource.create()
    if str(found.attributes[service.SERVICE_NAME]).startswith("unknown_service"):
        rest = {k: v for k, v in found.attributes.items() if k != service.SERVICE_NAME}
        return Resource(rest)
    return found
