"""A process that hosts one function or one adapter: set up, run, stop on SIGTERM."""

import importlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import tenacity

from ..crash import CrashPoints
from ..database.connection import bind, connect
from ..deploy.artifact import import_from
from ..errors import ContractError
from ..function import load
from ..health import HealthFile
from ..kafka.admin import create_topics
from ..kafka.producer import Producer
from ..kafka.transport import KafkaTransport
from ..message import Record
from ..secrets import read_secrets
from ..settings import Settings
from ..worker import UNAVAILABLE, Worker
from .stack import Resources, Stack, read_by

log = logging.getLogger(__name__)


def run_function(
    stack: Stack, name: str, settings: Settings, on_ready: Callable[[], None] = lambda: None
) -> None:
    """Host a function until SIGTERM or SIGINT; `on_ready` is called once it takes messages.

    Raises `ContractError` when the module declares no proper function.
    """
    # Loaded first: a module that hangs must not keep the process from being ended.
    function = load(stack.module(name))
    _unless_installed(sys.modules[function.handler.__module__], settings)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    database = connect(settings.database_url(stack.database))
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(UNAVAILABLE)
        & tenacity.retry_if_exception(lambda _: not stop.is_set()),
        wait=tenacity.wait_exponential(multiplier=0.1, max=5),
        sleep=tenacity.sleep_using_event(stop),
        before_sleep=tenacity.before_sleep_log(log, logging.WARNING),
        reraise=True,
    )
    try:
        retrying(bind, database, function.tables())
        partitions = stack.functions[name].partitions
        retrying(create_topics, settings, read_by(function.topics, partitions))
    except UNAVAILABLE:
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
    health = HealthFile(settings.saga_health)
    module = importlib.import_module(str(stack.adapter))
    _unless_installed(module, settings)
    app = module.make_app(settings)

    async def ready(*_: Any) -> None:
        health.mark_healthy(f"http://127.0.0.1:{stack.port}/health")
        on_ready()

    app.after_server_start(ready)
    app.run(
        settings.saga_host,
        stack.port,
        single_process=True,
        motd=False,
        access_log=False,
    )


def prepare(resources: Resources, settings: Settings, others: Iterable[str] = ()) -> None:
    """Give this process, which hosts nothing yet, its code, its environment and its secrets.

    `others` names secrets that are somebody else's. Raises `StackError` when a secret is missing.
    """
    secrets = read_secrets(resources.secrets)
    for name in others:
        os.environ.pop(name, None)
    os.environ.update({**resources.environment, **secrets})
    if settings.saga_code is not None:
        import_from(settings.saga_code)


def _unless_installed(module: ModuleType, settings: Settings) -> None:
    """Raise `ContractError` when a deployed version's module came from somewhere else."""
    code, file = settings.saga_code, str(module.__file__)
    if code is not None and not Path(file).is_relative_to(code):
        raise ContractError(f"{module.__name__} is imported from {file}, not from {code}")


def _run_worker(
    worker: Worker, settings: Settings, stop: threading.Event, on_ready: Callable[[], None]
) -> None:
    function, health = worker.function, HealthFile(settings.saga_health)
    transport = KafkaTransport(settings, function.name, function.topics, on_ready, health)
    try:
        worker.run(transport, stop)
    finally:
        transport.close()


def _run_timer(
    worker: Worker, settings: Settings, stop: threading.Event, on_ready: Callable[[], None]
) -> None:
    producer = Producer(settings, worker.function.name)
    health = HealthFile(settings.saga_health)

    def send(commands: Iterable[Record]) -> None:
        producer.send_records(commands)
        health.mark_healthy(again_in=worker.function.every or 0.0)

    health.mark_healthy(again_in=worker.function.every or 0.0)
    on_ready()
    try:
        worker.run_timer(send, stop, producer.check)
    finally:
        producer.close()
