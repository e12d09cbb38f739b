"""Start, watch and stop a system: `up`, `down`, `ps`, `logs`."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from saga.runtime import system
from saga.runtime.cli.app import Data, Json, app, coloured, console, settings_for
from saga.runtime.errors import NotRunning, SagaError
from saga.runtime.logs import configure_logging
from saga.runtime.settings import EMBEDDED, KAFKA
from saga.runtime.stack import read_stacks
from saga.runtime.system import System

START_TIMEOUT = 60.0  # seconds until `up --detach` gives up
STOP_TIMEOUT = 45.0  # seconds: three groups of processes drain for 10 each


@app.command()
def up(
    data: Data = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return when all is ready.")
    ] = False,
    broker: Annotated[
        str, typer.Option(metavar="embedded|kafka|ADDRESS", help="The broker to use.")
    ] = EMBEDDED,
) -> None:
    """Start the whole system: the broker, all functions and all adapters."""
    settings = settings_for(data)
    if detach:
        _start_detached(settings.saga_data, broker)
        return
    from saga.runtime.supervisor import Supervisor

    configure_logging(settings)
    Supervisor(settings, broker).run(lambda running: show(running, settings.saga_host))


@app.command()
def down(data: Data = None) -> None:
    """Drain and stop the system."""
    folder = settings_for(data).saga_data
    try:
        running = system.read(folder)
    except NotRunning:
        system.end_leftovers(folder)
        raise
    os.kill(running.supervisor, signal.SIGTERM)
    _wait_until(lambda: not system.is_locked(folder), STOP_TIMEOUT, "stopped")
    console.print("Stopped.")


@app.command()
def ps(data: Data = None, as_json: Json = False) -> None:
    """List the system's processes."""
    settings = settings_for(data)
    running = system.read(settings.saga_data)
    if as_json:
        listing = [process.model_dump(exclude_none=True) for process in running.processes]
        print(json.dumps(listing, indent=1))
    else:
        show(running, settings.saga_host)


@app.command()
def logs(
    name: Annotated[
        str | None, typer.Argument(help="A process, as `saga ps` names it; all if left out.")
    ] = None,
    data: Data = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines come.")] = False,
) -> None:
    """Print what the processes have logged."""
    folder = settings_for(data).saga_data / "logs"
    paths = sorted(folder.glob("*.log"))
    if name is not None:
        paths = [path for path in paths if path.stem == name]
    if not paths:
        known = ", ".join(path.stem for path in sorted(folder.glob("*.log"))) or "none"
        raise NotRunning(f"no log of {name or 'any process'} in {folder}; there are: {known}")
    try:
        for path, line in _lines(paths, follow=follow):
            prefix = f"[cyan]{path.stem}[/] | " if len(paths) > 1 else ""
            console.print(prefix + escape(line.rstrip("\n")), soft_wrap=True)
    except KeyboardInterrupt:
        return


@app.command()
def scale(
    wanted: Annotated[list[str], typer.Argument(metavar="FUNCTION=N…", help="How many of each.")],
    data: Data = None,
) -> None:
    """Run a function in N processes, until the system stops."""
    folder = settings_for(data).saga_data
    running = system.read(folder)
    entries = {f.name: entry for s in read_stacks(running.stacks) for f, entry in s.load()}
    counts = {}
    for word in wanted:
        name, _, number = word.partition("=")
        if name not in entries or not number.isdigit():
            raise SagaError(f"{word}: not of the form FUNCTION=N with one of {', '.join(entries)}")
        if int(number) > (most := entries[name].partitions):
            raise SagaError(f"{word}: {name} has {most} partitions, more replicas would be idle")
        counts[name] = int(number)
    system.write_replicas(folder, counts)
    os.kill(running.supervisor, signal.SIGUSR1)
    _wait_until(lambda: _has_replicas(system.read(folder), counts), START_TIMEOUT, "scaled")
    show(system.read(folder), settings_for(data).saga_host)


@app.command()
def run(
    name: Annotated[str, typer.Argument(help="A function, SERVICE.NAME, or an adapter, SERVICE.")],
    data: Data = None,
) -> None:
    """Run one function or one adapter in the foreground, on KAFKA_BOOTSTRAP_SERVERS."""
    from saga.runtime import host

    settings = settings_for(data)
    stacks = {stack.service: stack for stack in read_stacks(settings.saga_stacks)}
    service, _, function = name.partition(".")
    stack = stacks.get(service)
    if stack is None or (function not in stack.functions if function else stack.adapter is None):
        raise SagaError(f"{name}: no such function or adapter in {settings.saga_stacks}")
    configure_logging(settings)
    if function:
        host.set_environment(stack.functions[function].environment)
        host.run_function(stack, function, settings)
    else:
        host.run_adapter(stack, settings)


def show(running: System, host: str) -> None:
    """Print the processes as a table, adapters with their addresses."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("NAME", "KIND", "PID", "STATE", "RESTARTS", "WHERE"):
        table.add_column(column, overflow="fold", no_wrap=column == "NAME")
    for process in running.processes:
        where = process.topic or ""
        if process.kind == "adapter":
            where = f"http://{host}:{process.port}"
        elif process.kind == "broker":
            where = running.broker
        table.add_row(
            process.name,
            process.kind,
            str(process.pid or ""),
            coloured(process.state),
            str(process.restarts),
            where,
        )
    console.print(table)
    console.print("\nEach adapter's API is described at /docs. Try: saga demo")


def _start_detached(data: Path, broker: str) -> None:
    if system.is_locked(data):
        raise system.AlreadyRunning(
            f"a system already runs on {data}: see `saga ps`, stop it with `saga down`, "
            "or choose another directory with --data"
        )
    if broker == KAFKA:
        from saga.runtime.kafka_server import class_path

        class_path()  # fetched once, by Maven: that may take longer than all the rest
    (data / "logs").mkdir(parents=True, exist_ok=True)
    log = data / "logs" / "supervisor.log"
    command = [sys.executable, sys.argv[0], "up", "--data", str(data), "--broker", broker]
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - this very command again
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SagaError(_last_line(log))
        try:
            running = system.read(data)
        except NotRunning:
            running = None
        if running is not None and running.ready:
            show(running, settings_for(data).saga_host)
            return
        time.sleep(0.05)
    raise SagaError(f"not ready after {START_TIMEOUT:g} s: see `saga ps` and `saga logs`")


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1].removeprefix("saga: ") if lines else f"the system ended at once; see {log}"


def _wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SagaError(f"not {what} after {seconds:g} s: see `saga ps` and `saga logs`")
        time.sleep(0.05)


def _has_replicas(running: System, counts: dict[str, int]) -> bool:
    states = {
        name: [p.state for p in running.processes if p.name.partition("-")[0] == name]
        for name in counts
    }
    return all(states[name] == ["ready"] * count for name, count in counts.items())


def _lines(paths: list[Path], *, follow: bool) -> Iterator[tuple[Path, str]]:
    files = [(path, path.open(errors="replace")) for path in paths]
    while True:
        idle = True
        for path, file in files:
            for line in file:
                idle = False
                yield path, line
        if idle and not follow:
            return
        if idle:
            time.sleep(0.2)
