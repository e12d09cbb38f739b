"""The answer to a scrape, in Prometheus's text format or OpenMetrics', and a server of its own."""

import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import socket

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

PATH = "/metrics"
PATIENCE = 10.0  # seconds for a request to come


def exposition(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """Return all metrics of a registry, in a format that is accepted, with its media type."""
    encode, media_type = choose_encoder(accept)
    return encode(registry), media_type


class MetricsServer:
    """Answers `GET /metrics` in threads of its own, on a socket that listens already."""

    def __init__(self, registry: CollectorRegistry, listening: socket) -> None:
        class Handler(_Handler):
            metrics = registry

        self._server = _Server(listening.getsockname()[:2], Handler, bind_and_activate=False)
        self._server.socket.close()
        self._server.socket = listening
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="metrics", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Answer no more requests, and leave the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False


class _Handler(BaseHTTPRequestHandler):
    metrics: CollectorRegistry
    timeout = PATIENCE

    def do_GET(self) -> None:
        """Answer with the metrics, or 404."""
        if self.path.partition("?")[0] != PATH:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        body, media_type = exposition(self.metrics, self.headers.get("Accept", ""))
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Log nothing: a scrape comes every few seconds."""
