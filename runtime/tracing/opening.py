"""Whether this process is traced: nothing of OpenTelemetry is imported where it is not."""

import logging
import os
from typing import TYPE_CHECKING

from ..settings import Settings

if TYPE_CHECKING:
    from .tracing import Tracing

log = logging.getLogger(__name__)

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
MISSING = "no traces are sent: they need the packages of `pip install 'saga-functions[otel]'` (%s)"


def open_traces(name: str, settings: Settings) -> "Tracing | None":
    """Let a process that hosts `name` be traced, if the environment says where traces go.

    After a fork: what sends them is a thread.
    """
    if not is_wanted():
        return None
    # The SDK takes some of them, when they are empty, for values that it does not know.
    for empty in [n for n, v in os.environ.items() if n.startswith("OTEL_") and not v.strip()]:
        del os.environ[empty]
    try:
        from .tracing import Tracing
    except ImportError as error:
        log.warning(MISSING, error)
        return None
    return Tracing(name, settings)


def is_wanted() -> bool:
    """Tell whether the environment names an endpoint, and does not say that there is no tracing."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if os.environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none":
        return False
    return any(os.environ.get(name, "").strip() for name in ENDPOINTS)
