"""Where a process counts what it does, and where that is served.

A supervised process counts in files, which outlive it, and another one serves them. A process that
runs alone, as in a container, serves its own: what it counts, how far its group is behind, and a
saga's host what is in its database.
"""

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from ..address import listen
from ..function import Function
from ..saga_host import HostedSaga
from ..settings import Settings

log = logging.getLogger(__name__)


@contextmanager
def counting(hosted: Function | HostedSaga, settings: Settings, url: str) -> Iterator[None]:
    """Count in a block, unless metrics are off; `url` is that of the database."""
    if not settings.saga_metrics_port:
        yield
        return
    # Imported late: nobody waits for it where metrics are off.
    from ..metrics import instruments

    if settings.saga_counts is not None:
        instruments.count_in(settings.saga_counts)
        yield
        return
    listening = listen_for_metrics(settings.saga_host, settings.saga_metrics_port)
    if listening is None:
        yield
        return
    from ..metrics import stored
    from ..metrics.backlog import Backlog
    from ..metrics.collecting import Asking, Source
    from ..metrics.exposition import MetricsServer

    sources = [Source("the broker", Backlog(settings, lambda: {hosted.name: hosted.topics}))]
    if isinstance(hosted, HostedSaga):
        sources.append(Source("the database", lambda: stored.ask(url)))
    registry = instruments.of_this_process().registry
    asking = Asking(lambda: sources)
    registry.register(asking)
    server = MetricsServer(registry, listening)
    try:
        yield
    finally:
        server.close()
        registry.unregister(asking)


def listen_for_metrics(host: str, port: int) -> socket.socket | None:
    """Listen on the port for metrics; where that can't be had, say so: nothing else needs it."""
    try:
        return listen(host, port)
    except OSError as error:
        why = f"port {port} on {host} can't be had: {error.strerror}"
        log.warning("no metrics are served, as %s; SAGA_METRICS_PORT names another, or 0", why)
        return None
