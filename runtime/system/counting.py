"""Where a process counts what it does, and where that is served.

A supervised process counts in files, which outlive it, and another one serves them. A process that
runs alone, as in a container, serves its own: what it counts, how far its group is behind, and a
saga's host what is in its database.
"""

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..address import listen
from ..function import Function
from ..observer import NOBODY, Observer
from ..settings import Settings

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from ..metrics.exposition import MetricsServer
    from ..saga_host import HostedSaga

log = logging.getLogger(__name__)


@contextmanager
def counting(hosted: "Function | HostedSaga", settings: Settings, url: str) -> Iterator[Observer]:
    """Give a block who counts in it, nobody where metrics are off; `url` is of the database."""
    if not settings.saga_metrics_port:
        yield NOBODY
        return
    count_in_files(settings)
    # Imported late: nobody waits for it where metrics are off.
    from ..metrics.instruments import of_this_process
    from ..metrics.recorder import recorder

    own = of_this_process()
    server = None if settings.saga_counts else _serve(hosted, settings, url, own.registry)
    try:
        yield recorder(hosted, own)
    finally:
        if server is not None:
            server.close()


def count_in_files(settings: Settings) -> None:
    """Let this process count in the files that its supervisor has named, if that counts."""
    if settings.saga_metrics_port and settings.saga_counts is not None:
        from ..metrics.instruments import count_in

        try:
            count_in(settings.saga_counts)
        except OSError as error:
            log.warning("nothing of this process is counted: %s", error)


def _serve(
    hosted: "Function | HostedSaga", settings: Settings, url: str, registry: "CollectorRegistry"
) -> "MetricsServer | None":
    listening = listen_for_metrics(settings.saga_host, settings.saga_metrics_port)
    if listening is None:
        return None
    from ..metrics import stored
    from ..metrics.backlog import Backlog
    from ..metrics.collecting import Asking, Source
    from ..metrics.exposition import MetricsServer
    from ..saga_host import HostedSaga

    topics = {hosted.name: hosted.topics} if hosted.topics else {}  # a timer is in no group
    sources = [Source("the broker", Backlog(settings, lambda: topics))]
    if isinstance(hosted, HostedSaga):
        sources.append(Source("the database", lambda: stored.ask(url)))
    registry.register(Asking(lambda: sources))
    return MetricsServer(registry, listening)


def listen_for_metrics(host: str, port: int) -> socket.socket | None:
    """Listen on the port for metrics; where that can't be had, say so: nothing else needs it."""
    try:
        return listen(host, port)
    except OSError as error:
        why = f"port {port} on {host} can't be had: {error.strerror}"
        log.warning("no metrics are served, as %s; SAGA_METRICS_PORT names another, or 0", why)
        return None
