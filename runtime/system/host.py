"""A process that hosts one function, saga or adapter: set up, run, stop on SIGTERM."""

import gc
import importlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import peewee
import tenacity

from ..address import web_address
from ..batch_loop import LONGEST_BATCH, BatchLoop
from ..clock import utcnow
from ..crash import CrashPoints
from ..database.connection import LONGEST, connect
from ..database.schema import bind
from ..dead_letter import to_unsent_letter
from ..envelope import Record
from ..errors import BrokerUnavailable, ContractError, first_line
from ..function import Function
from ..health import HealthFile
from ..kafka.admin import create_topics
from ..kafka.producer import Producer
from ..kafka.transport import KafkaTransport
from ..loop import UNAVAILABLE
from ..observer import Observer
from ..poison import Suspects
from ..saga_host import HostedSaga, SagaHost
from ..secrets import read_secrets
from ..settings import Settings
from ..timer import Timer
from ..tracing.opening import open_traces
from ..transport import Refusal
from ..worker import Worker
from .code import import_from
from .counting import count_in_files, counting
from .listening import listen_for
from .logs import hide_password, hide_secrets
from .observing import Logs, Observers
from .stack import Resources, Stack, needed_by
from .watchdog import Watchdog

if TYPE_CHECKING:
    from ..tracing.tracing import Tracing

log = logging.getLogger(__name__)

COLLECTED_TOGETHER = 20_000  # objects; with Python's 700, a large batch takes a tenth longer


def run_entry(
    stack: Stack,
    name: str,
    settings: Settings,
    on_ready: Callable[[Sequence[str]], None] = lambda _: None,
) -> None:
    """Host a function or a saga until SIGTERM or SIGINT.

    `on_ready` is called with its topics once it takes messages. Raises `ContractError` when the
    module declares neither.
    """
    hide_password(stack.database)
    # Loaded first: a module that hangs must not keep the process from being ended.
    hosted = stack.import_entry(name)
    _unless_installed(sys.modules[stack.module(name)], settings)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    url = settings.database_url(stack.database)
    longest = LONGEST if isinstance(hosted, HostedSaga) else hosted.timeout
    database = connect(url, longest=longest)
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(UNAVAILABLE)
        & tenacity.retry_if_exception(lambda _: not stop.is_set()),
        wait=tenacity.wait_exponential(multiplier=0.1, max=5),
        sleep=tenacity.sleep_using_event(stop),
        before_sleep=tell_of_retry,
        reraise=True,
    )
    topics = needed_by(hosted, stack.entries[name].width(settings.saga_replicas))
    create = partial(create_topics, settings, topics)
    try:
        retrying(bind, database, hosted.tables())
        retrying(create)
    except UNAVAILABLE:
        if stop.is_set():
            return
        raise
    # What is loaded stays: no collection has to look through it, and so make its pages our own.
    gc.freeze()
    # A batch is tens of thousands of objects that all stay until its end, and none is in a cycle.
    gc.set_threshold(COLLECTED_TOGETHER)
    log.info("%s starts", hosted.name)
    traces = open_traces(hosted.name, settings)
    try:
        with counting(hosted, settings, url) as counter:
            observer = Observers(counter, traces or Logs())
            ready = partial(on_ready, hosted.topics)
            _run(hosted, database, url, observer, Hosting(settings, stop, ready, create, traces))
    finally:
        database.close()
        if traces is not None:
            traces.close()
    log.info("%s has stopped", hosted.name)


def tell_of_retry(retrying: tenacity.RetryCallState) -> None:
    """Log what a start waits for, at the first attempt, the second, the fourth, the eighth."""
    number, outcome = retrying.attempt_number, retrying.outcome
    error = outcome.exception() if outcome is not None else None
    if error is not None and number & (number - 1) == 0:
        log.warning("%s; waiting for it", first_line(error))


def run_adapter(
    stack: Stack,
    settings: Settings,
    on_ready: Callable[[], None] = lambda: None,
    listening: socket.socket | None = None,
    *,
    beside: bool = False,
) -> None:
    """Host a service's HTTP adapter until SIGTERM or SIGINT; `on_ready` once it accepts requests.

    It accepts them from `listening`, as others may, or else from a socket of its own; it raises
    `StackError` where that can't be had. Where others are `beside` it, it has to be healthy first.
    """
    from ..console.mounting import mount
    from ..web.serving import serve

    hide_password(stack.database)
    health = HealthFile(settings.saga_health)
    module = importlib.import_module(str(stack.adapter))
    _unless_installed(module, settings)
    count_in_files(settings)
    app = module.make_app(settings)
    mount(app, settings)
    traces = open_traces(stack.service, settings)
    if traces is not None:
        traces.trace_requests(app)
    host, port = settings.saga_host, stack.port

    def ready() -> None:
        health.mark_healthy(f"{web_address(host, port)}/health")
        on_ready()

    try:
        serve(app, listening or listen_for(stack, host), beside=beside, on_ready=ready)
    finally:
        if traces is not None:
            traces.close()


def prepare(resources: Resources, settings: Settings, others: Iterable[str] = ()) -> None:
    """Give this process, which hosts nothing yet, its code, its environment and its secrets.

    `others` names secrets that are somebody else's. Raises `StackError` when a secret is missing.
    """
    secrets = read_secrets(resources.secrets)
    for name in others:
        os.environ.pop(name, None)
    hide_secrets(secrets.values())
    os.environ.update({**resources.environment, **secrets})
    if settings.saga_code is not None:
        import_from(settings.saga_code)


def _unless_installed(module: ModuleType, settings: Settings) -> None:
    """Raise `ContractError` when a deployed version's module came from somewhere else."""
    code, file = settings.saga_code, str(module.__file__)
    if code is not None and not Path(file).is_relative_to(code):
        raise ContractError(f"{module.__name__} is imported from {file}, not from {code}")


@dataclass(frozen=True, slots=True)
class Hosting:
    """What a process has that hosts a function or a saga, until `stop` is set.

    It calls `on_ready` once it takes messages, and `create` where a topic is missing.
    """

    settings: Settings
    stop: threading.Event
    on_ready: Callable[[], None]
    create: Callable[[], None]
    traces: "Tracing | None" = None


def _run(
    hosted: Function | HostedSaga,
    database: peewee.Database,
    url: str,
    observer: Observer,
    hosting: Hosting,
) -> None:
    points = CrashPoints(hosted.name, hosting.settings.saga_crash_points)
    if isinstance(hosted, HostedSaga):
        host = SagaHost(hosted, database, crash_points=points)
        host.observer = observer
        host.time_limit = Watchdog(0.0)  # it calls no handler, but may be told to end
        _run_loop(host, hosted, points, hosting)
    elif hosted.kind == "timer":
        timer = Timer(hosted, database, crash_points=points)
        timer.observer = observer
        timer.time_limit = Watchdog(hosted.timeout)
        _run_timer(timer, hosting)
    else:
        worker = Worker(hosted, database, crash_points=points)
        worker.observer = observer
        # The last handler of a batch may begin at its end.
        worker.time_limit = Watchdog(LONGEST_BATCH + hosted.timeout)
        worker.suspects = Suspects(hosted.name, connect(url))
        _run_loop(worker, hosted, points, hosting)
        worker.suspects.close()


def _run_loop(
    loop: BatchLoop, hosted: Function | HostedSaga, points: CrashPoints, hosting: Hosting
) -> None:
    patience = hosted.timeout if isinstance(hosted, Function) else 0.0
    settings, traces = hosting.settings, hosting.traces
    transport = KafkaTransport(
        settings,
        hosted.name,
        hosted.topics,
        hosting.on_ready,
        hosting.create,
        HealthFile(settings.saga_health, patience),
        points,
        loop.observer.sent,
        _end,
    )
    try:
        loop.run(transport if traces is None else traces.carried_by(transport), hosting.stop)
    finally:
        transport.close()


def _end() -> None:
    """End this process, as whoever watches it starts another: its consumer would hang if closed."""
    log.error("out of its group for long, which waits for nobody: ends, to be started again")
    logging.shutdown()
    os._exit(1)


def _run_timer(timer: Timer, hosting: Hosting) -> None:
    settings, traces = hosting.settings, hosting.traces
    producer = Producer(settings, timer.observer.sent)
    health = HealthFile(settings.saga_health, timer.function.timeout)
    every = timer.every.total_seconds()

    def send(commands: Iterable[Record]) -> None:
        traced = commands if traces is None else map(traces.sending, commands)
        refused = _offer(producer, traced, settings)
        for command, why, _ in refused:
            log.error("not taken by %s: %s", command.topic, why)
        letters = [to_unsent_letter(sent, timer.name, why, utcnow()) for sent, why, _ in refused]
        _offer(producer, letters, settings)
        health.mark_healthy(again_in=every)

    def check() -> None:
        health.mark_healthy(again_in=every)  # the loop turns, whatever is away
        producer.check()

    health.mark_healthy(again_in=every)
    hosting.on_ready()
    try:
        timer.run(send, hosting.stop, check)
    finally:
        producer.close()


def _offer(producer: Producer, records: Iterable[Record], settings: Settings) -> list[Refusal]:
    """Send records; return those that the broker will never take.

    Raises `BrokerUnavailable` where all have to be sent once more, be it that a topic was missing:
    its reader may be deployed later, and adds to the one partition that it has now.
    """
    refused = producer.offer(records)
    if missing := {refusal.record.topic for refusal in refused if refusal.missing}:
        create_topics(settings, dict.fromkeys(missing, 1))
        raise BrokerUnavailable(f"there was no topic {', '.join(sorted(missing))}")
    return refused
