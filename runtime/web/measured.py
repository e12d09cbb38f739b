"""How an adapter is measured: the time of its requests, and `GET /metrics`."""

import time
from collections.abc import Callable
from http import HTTPMethod
from typing import Any, TypeAlias

from sanic import HTTPResponse, Request, Sanic
from sanic.response import BaseHTTPResponse

from ..envelope import Record
from ..saga import Saga
from ..saga_state import SagaState
from ..settings import Settings
from . import openapi
from .routes import add

App: TypeAlias = Sanic[Any, Any]

TEXT = "text/plain"
NO_ROUTE = ""  # of a path that is none: there are as many of those as anybody likes
OTHER = "_OTHER"  # OpenTelemetry's word for a method that is none


def measure(app: App, service: str, settings: Settings) -> None:
    """Measure the requests of an app, unless nothing is to be counted, and serve what it counts."""
    add(app, get_metrics, "/metrics")
    if settings.saga_metrics_port:
        # Imported late: who counts nothing need not wait for it.
        from ..metrics.catalogue import REQUESTS
        from ..metrics.instruments import of_this_process

        series, templates = of_this_process().series, dict[str, str]()

        async def begin(request: Request) -> None:
            request.ctx.began = time.perf_counter()

        async def end(request: Request, response: BaseHTTPResponse) -> None:
            began = getattr(request.ctx, "began", None)
            if began is not None:
                took, route, path = time.perf_counter() - began, request.route, NO_ROUTE
                if route is not None:
                    path = templates.get(route.path) or openapi.template(route)
                    templates[route.path] = path
                method = request.method if request.method in HTTPMethod.__members__ else OTHER
                series(REQUESTS, service, method, path, str(response.status)).observe(took)

        app.register_middleware(begin, "request", priority=1)  # before all others
        app.register_middleware(end, "response")


def sent_counter(settings: Settings) -> Callable[[Record], None]:
    """Return what counts a record that this process has sent, unless nothing is to be counted."""
    if not settings.saga_metrics_port:
        return lambda _: None
    from ..metrics.instruments import of_this_process
    from ..metrics.recorder import count_sent

    return count_sent(of_this_process())


def change_counter(settings: Settings, saga: Saga) -> Callable[[SagaState, SagaState], None]:
    """Return what counts a saga's change by this process, unless nothing is to be counted."""
    if not settings.saga_metrics_port:
        return lambda *_: None
    from ..metrics.instruments import of_this_process
    from ..metrics.recorder import SagaCounter

    return SagaCounter(saga, of_this_process())


@openapi.describe({200: str}, content=TEXT)
async def get_metrics(request: Request) -> HTTPResponse:
    """Return what this process has counted, as Prometheus reads it.

    With `Accept: application/openmetrics-text`, in the format of OpenMetrics.
    """
    from ..metrics.exposition import exposition
    from ..metrics.instruments import of_this_process

    accept = request.headers.get("accept", "")
    body, media_type = exposition(of_this_process().registry, accept)
    return HTTPResponse(body, content_type=media_type)
