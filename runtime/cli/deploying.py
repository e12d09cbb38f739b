"""Deploy one by one: `deploy`, `rollback`, `scale`, `remove`, `deployments`, `invoke`."""

import json
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..deploy import history
from ..deploy.artifact import SHOWN
from ..deploy.releasing import Releasing
from ..deploy.rollout import READY_TIMEOUT
from ..deploy.store import open_store
from ..deploy.target import Release
from ..deploy.targets import open_target
from ..errors import SagaError
from ..settings import Settings
from .app import Data, Json, Where, app, settings_for
from .running import show
from .terminal import bare_table, console, line, moment

NAMES = "SERVICE.NAME of a function or saga, or SERVICE for its adapter."

Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help=NAMES),
]
Timeout = Annotated[
    float, typer.Option("--timeout", min=1, help="Seconds that a new version has to get healthy.")
]


@app.command()
def deploy(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help=NAMES,
        ),
    ] = None,
    data: Data = None,
    target: Where = None,
    timeout: Timeout = READY_TIMEOUT,
    force: Annotated[
        bool, typer.Option("--force", help="Also what runs already: for new secrets, a new image.")
    ] = False,
) -> None:
    """Deploy functions, sagas and adapters as their code is now.

    All of them where none is named, and without a gap.

    The new version starts beside the old one, which ends once the new one is healthy. When it does
    not get healthy, it is taken down and the old one stays.
    """
    releasing = _releasing(settings_for(data, target), timeout)
    releases = releasing.deploy(names or [], force=force)
    for release in releases:
        _tell(release)
    if not releases:
        console.print("Nothing to do: these versions run already.")


@app.command()
def rollback(
    name: Name,
    version: Annotated[
        str | None, typer.Argument(help="Its first digits; if left out, what had run before.")
    ] = None,
    data: Data = None,
    target: Where = None,
    timeout: Timeout = READY_TIMEOUT,
) -> None:
    """Deploy an earlier version of a function or saga again.

    Its stack file is the one of that time, as its code is.
    """
    release = _releasing(settings_for(data, target), timeout).roll_back(name, version)
    _tell(release)


@app.command()
def scale(
    wanted: Annotated[list[str], typer.Argument(metavar="NAME=N", help="How many of each.")],
    data: Data = None,
    target: Where = None,
    timeout: Timeout = READY_TIMEOUT,
) -> None:
    """Run a function, saga or adapter N times, until the system stops."""
    counts = {}
    for word in wanted:
        name, _, number = word.partition("=")
        if not number.isdecimal():
            raise SagaError(f"{word}: not of the form NAME=N")
        counts[name] = int(number)
    releasing = _releasing(settings_for(data, target), timeout)
    releasing.scale(counts)
    show([i for i in releasing.target.instances() if i.deployed in counts])


@app.command()
def remove(
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="As in `saga ps`.")],
    data: Data = None,
    target: Where = None,
) -> None:
    """Drain and stop all instances of functions or sagas.

    Their messages wait for a deploy.
    """
    _releasing(settings_for(data, target), READY_TIMEOUT).remove(names)
    console.print(f"{', '.join(names)}: removed")


@app.command()
def deployments(name: Name, data: Data = None, as_json: Json = False, target: Where = None) -> None:
    """List the versions of a function that were deployed.

    The newest first, with when that was and by whom.
    """
    settings = settings_for(data, target)
    found = history.deployments(open_store(settings.artifacts), settings.deployed_on, name)
    found.reverse()
    if as_json:
        print(json.dumps([entry.model_dump(mode="json") for entry in found], indent=1))
        return
    table = bare_table()
    for column in ("VERSION", "DEPLOYED", "BY", "REPLACED"):
        table.add_column(column)
    for entry in found:
        before = (entry.replaced or "")[:SHOWN]
        table.add_row(entry.version[:SHOWN], moment(entry.at), entry.by, before)
    console.print(table if found else f"{name} was never deployed.")


@app.command()
def invoke(
    name: Name,
    body: Annotated[
        str, typer.Option("--body", "-b", help="The command: JSON, @FILE, or - for standard input.")
    ],
    data: Data = None,
    target: Where = None,
    timeout: Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds to wait.")] = 30.0,
) -> None:
    """Send a function one command and print its answer.

    The exit code is 2 where that is a no, or a fault. The handler runs for real, with all that it
    writes, but no saga goes on from there.
    """
    settings = settings_for(data, target)
    text = _read(body)
    if settings.kafka_bootstrap_servers is not None and settings.saga_target == "process":
        # Imported late: Quix Streams takes a second.
        from ..deploy.invocation import invoke as send

        answer = send(settings, name, text, timeout)
    else:
        answer = open_target(settings).invoke(name, text, timeout)
    console.print(answer, soft_wrap=True)
    if json.loads(answer)["outcome"] != "done":
        sys.exit(2)


def _releasing(settings: Settings, timeout: float) -> Releasing:
    # What is half done is taken back, as after Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    return Releasing(settings, lambda text: console.print(line((text, "dim"))), timeout)


def _tell(release: Release) -> None:
    console.print(line((release.name, "green"), f" runs version {release.version[:SHOWN]}"))


def _read(body: str) -> str:
    if body != "-" and not body.startswith("@"):
        return body
    try:
        return sys.stdin.read() if body == "-" else Path(body[1:]).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise SagaError(f"--body {body}: {error}") from None
