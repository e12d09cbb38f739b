"""A process that hosts one function or one adapter: set up, run, stop on SIGTERM."""

import importlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Mapping
from typing import Any

import tenacity

from saga.runtime.crash import CrashPoints
from saga.runtime.database import bind, connect
from saga.runtime.function import load
from saga.runtime.kafka import KafkaTransport, Sender, create_topics
from saga.runtime.settings import Settings
from saga.runtime.stack import Stack, topics
from saga.runtime.worker import AWAY, Worker

log = logging.getLogger(__name__)


def run_function(
    stack: Stack, name: str, settings: Settings, on_ready: Callable[[], None] = lambda: None
) -> None:
    """Host a function until SIGTERM or SIGINT; `on_ready` is called once it takes messages.

    Raises `ContractError` when the module declares no proper function.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    function = load(stack.module(name))
    database = connect(settings.database_url(stack.database))
    patiently = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(AWAY)
        & tenacity.retry_if_exception(lambda _: not stop.is_set()),
        wait=tenacity.wait_exponential(multiplier=0.1, max=5),
        sleep=tenacity.sleep_using_event(stop),
        before_sleep=tenacity.before_sleep_log(log, logging.WARNING),
        reraise=True,
    )
    try:
        patiently(bind, database, function.tables())
        patiently(create_topics, settings, topics([stack]))
    except AWAY:
        if stop.is_set():
            return
        raise
    log.info("%s starts", function.name)
    worker = Worker(
        function, database, crash_points=CrashPoints(function.name, settings.saga_crash_points)
    )
    if function.kind == "timer":
        _run_timer(worker, settings, stop, on_ready)
    else:
        _run_worker(worker, settings, stop, on_ready)
    database.close()
    log.info("%s has stopped", function.name)


def run_adapter(
    stack: Stack, settings: Settings, on_ready: Callable[[], None] = lambda: None
) -> None:
    """Host a service's HTTP adapter until SIGTERM or SIGINT; `on_ready` once it answers."""
    app = importlib.import_module(str(stack.adapter)).make_app(settings)

    async def ready(*_: Any) -> None:
        on_ready()

    app.after_server_start(ready)
    app.run(
        settings.saga_host,
        stack.port,
        single_process=True,
        motd=False,
        access_log=False,
    )


def set_environment(environment: Mapping[str, str]) -> None:
    """Give this process, which hosts nothing yet, the environment of its stack file."""
    os.environ.update(environment)


def _run_worker(
    worker: Worker, settings: Settings, stop: threading.Event, on_ready: Callable[[], None]
) -> None:
    function = worker.function
    transport = KafkaTransport(settings, function.name, function.topics, on_ready)
    try:
        worker.run(transport, stop)
    finally:
        transport.close()


def _run_timer(
    worker: Worker, settings: Settings, stop: threading.Event, on_ready: Callable[[], None]
) -> None:
    sender = Sender(settings, worker.function.name)
    on_ready()
    try:
        worker.run_timer(sender.send_records, stop, sender.check)
    finally:
        sender.close()
