"""Start, watch and stop a system: `up`, `down`, `ps`, `run`."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ..data_directory import claim
from ..deploy.artifact import SHOWN
from ..deploy.target import Instance
from ..deploy.targets import open_target
from ..errors import NotRunning, SagaError
from ..polling import wait_until
from ..settings import EMBEDDED, KAFKA, Settings
from ..system.log_reader import LogReader, last_lines, last_words, log_file
from ..system.logs import configure_logging
from ..system.rotation import rotate_own, turn_over
from ..system.stack import read_stacks
from ..system.state import (
    System,
    end_leftovers,
    forget_system,
    has_leftovers,
    is_locked,
    lock_system,
    read_system,
)
from ..system.wanted import Wanted
from .app import STOP_TIMEOUT, Broker, Data, Json, Where, app, settings_for
from .terminal import console, line, print_rows
from .welcome import welcome

WIDE = ("KIND", "PID")  # columns for which there is not always room
START_TIMEOUT = 180.0  # seconds until `up --detach` gives up
FAILED_STARTS = 3  # of one process in succession, after which `up --detach` waits no longer
LAST_LINES = 40  # of a log, in which its last words are looked for


@app.command()
def up(
    data: Data = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return when all is ready.")
    ] = False,
    broker: Broker = EMBEDDED,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="The code as it is now, whatever ran before.")
    ] = False,
) -> None:
    """Start the broker and all functions, sagas and adapters.

    They run the code as it is now. But a system that was not stopped by `saga down`, be it for a
    reboot, is brought back as it was: its versions, how many of each, and without what was removed.
    """
    # The supervisor needs process groups, a fork server and file locks that end with their process.
    if sys.platform not in ("linux", "darwin"):
        raise SagaError("saga up needs Linux, macOS or WSL")
    settings = settings_for(data)
    if detach:
        _start_detached(settings, broker, fresh=fresh)
        return
    if broker == KAFKA:
        _prepare_kafka()
    from ..deploy.first_versions import prepare, record, recover, restore
    from ..system.recovery import Recovery
    from ..system.supervisor import Supervisor

    def on_ready(running: Mapping[str, Wanted]) -> None:
        threading.Thread(target=record, args=(settings, running), daemon=True).start()
        _show_all(settings)

    configure_logging(settings, "supervisor")
    rotate_own(log_file(settings.saga_data, "supervisor"), settings)
    before = Recovery if fresh else partial(recover, settings)
    first, again = partial(prepare, settings), partial(restore, settings)
    Supervisor(settings, broker, first, before, again).run(on_ready)


@app.command()
def down(data: Data = None, target: Where = None) -> None:
    """Drain and stop the system."""
    settings = settings_for(data, target)
    if settings.saga_target == "docker":
        from ..deploy.containers import Containers

        Containers(settings).down()
        told = "Stopped."
    else:
        told = _stop(settings.saga_data)
    console.print(line(told))


def _stop(folder: Path) -> str:
    """Stop a system, or end what is left of one that was killed; return what was done."""
    try:
        running = read_system(folder)
    except NotRunning:
        if not has_leftovers(folder):
            raise
        with lock_system(folder):
            left = end_leftovers(folder)
            forget_system(folder)
        ended = f"ended what was left of it: {', '.join(left)}"
        done = ended if left else "what it ran is forgotten"
        return f"No system ran any more; {done}. The next `saga up` runs the code as it is."
    # As Ctrl-C does: SIGTERM is for a service manager, after which all is brought back.
    if not running.supervisor.signal(signal.SIGINT):
        raise NotRunning(f"a system on {folder} has just begun to start: try again")
    wait_until(lambda: not is_locked(folder), "not stopped", STOP_TIMEOUT)
    return "Stopped."


@app.command()
def ps(
    data: Data = None,
    wide: Annotated[
        bool, typer.Option("--wide", help="Also show kinds and pids, and cut nothing.")
    ] = False,
    as_json: Json = False,
    target: Where = None,
) -> None:
    """List what runs: processes, or containers."""
    instances = open_target(settings_for(data, target)).instances()
    if as_json:
        print(json.dumps([asdict(instance) for instance in instances], indent=1))
    elif instances:
        show(instances, wide=wide)
    else:
        console.print("Nothing runs; `saga deploy` starts it.")


@app.command()
def run(
    name: Annotated[
        str, typer.Argument(help="A function or saga, SERVICE.NAME, or an adapter, SERVICE.")
    ],
    data: Data = None,
) -> None:
    """Run one function, saga or adapter in the foreground.

    Its broker is KAFKA_BOOTSTRAP_SERVERS, or else the one of the system on the data directory.
    """
    # Who is ended before all is set up has not failed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    from ..database.sqlite import sqlite_file
    from ..system import host

    settings = _on_its_broker(settings_for(data))
    stacks = {stack.service: stack for stack in read_stacks(settings.saga_stacks)}
    service, _, entry = name.partition(".")
    stack = stacks.get(service)
    if stack is None or (entry not in stack.entries if entry else stack.adapter is None):
        raise SagaError(f"{name}: no such function, saga or adapter in {settings.saga_stacks}")
    configure_logging(settings, name)
    database = sqlite_file(settings.database_url(stack.database))
    if database is not None and database.is_relative_to(settings.saga_data.absolute()):
        claim(settings.saga_data)
    host.prepare(stack.resources(entry or None), settings)
    if entry:
        host.run_entry(stack, entry, settings)
    else:
        host.run_adapter(stack, settings)


def _on_its_broker(settings: Settings) -> Settings:
    """Return settings for the running system's broker, where the environment names no other one.

    The system knows whether that is the embedded one: nobody has to say so.
    """
    try:
        running = read_system(settings.saga_data)
    except NotRunning:
        return settings
    if settings.kafka_bootstrap_servers not in (None, running.broker):
        return settings
    return settings.on_broker(running.broker, running.broker_kind)


def show(instances: Sequence[Instance], *, wide: bool = False) -> None:
    """Print a line for each instance, cut to the terminal's width, or with all that is known."""
    columns = ("NAME", "STATE", "VERSION", "RESTARTS", *(WIDE if wide else ()), "WHERE")
    print_rows(columns, [_row(instance, wide=wide) for instance in instances], cut=not wide)


def _row(instance: Instance, *, wide: bool) -> tuple[str, ...]:
    version, restarts = instance.version[:SHOWN], str(instance.restarts)
    more = (instance.kind, str(instance.pid or "")) if wide else ()
    return instance.name, instance.state, version, restarts, *more, instance.where


def _show_all(settings: Settings) -> None:
    show(open_target(settings.model_copy(update={"saga_target": "process"})).instances())
    if told := welcome(settings):
        console.print(f"\n{told}")


def _prepare_kafka() -> None:
    from ..kafka.apache import java_command
    from .progress import progress_bar

    with progress_bar() as progress:
        bar = progress.add_task("getting Apache Kafka ready, once", visible=False)
        java_command(lambda n, total: progress.update(bar, completed=n, total=total, visible=True))


def _start_detached(settings: Settings, broker: str, *, fresh: bool) -> None:
    data = settings.saga_data
    with lock_system(data):
        pass  # else the refusal is told here, not in the log
    if broker == KAFKA:
        _prepare_kafka()  # once: that may take longer than all the rest
    (data / "logs").mkdir(parents=True, exist_ok=True)
    log = log_file(data, "supervisor")
    turn_over(log, settings)
    reader = LogReader(log)
    command = [sys.executable, sys.argv[0], "up", "--data", str(data), "--broker", broker]
    command += ["--fresh"] if fresh else []
    with log.open("ab") as output:  # what the system before has told last stays
        reader.skip()
        process = subprocess.Popen(  # noqa: S603 - this very command again
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )

    def is_ready() -> bool:
        if process.poll() is not None:
            why = last_words("\n".join([*reader.lines(), reader.unfinished()]))
            raise SagaError(why or f"the system ended at once; see {log}")
        try:
            running = read_system(data)
        except NotRunning:
            return False
        if running.supervisor.pid != process.pid:
            return False  # what a killed supervisor has left
        _tell_of_failed_starts(data, running)
        return running.ready

    try:
        wait_until(is_ready, "not ready", START_TIMEOUT)
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        process.wait(STOP_TIMEOUT)
        raise
    if told := read_system(data).told:
        console.print(line(told), soft_wrap=True)
    _show_all(settings)


def _tell_of_failed_starts(data: Path, running: System) -> None:
    """Raise `SagaError` where a process ends again and again before it is ready."""
    for process in running.processes:
        if process.failed_starts >= FAILED_STARTS:
            name = process.name
            why = last_words("\n".join(last_lines(log_file(data, name), LAST_LINES)))
            raise SagaError(
                f"{name} has ended {process.failed_starts} times before it was ready: {why}; see "
                f"`saga logs {name}`. It is tried again and the others run, until `saga down`"
            )
