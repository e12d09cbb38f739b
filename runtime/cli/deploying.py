"""Deploy one by one: `deploy`, `rollback`, `scale`, `remove`, `deployments`, `invoke`."""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ..deploy import history
from ..deploy.artifact import SHOWN
from ..deploy.interruption import raise_when_told_to_end
from ..deploy.releasing import Releasing
from ..deploy.rollout import READY_TIMEOUT, described
from ..deploy.store import open_store
from ..deploy.target import Release
from ..deploy.targets import open_target
from ..errors import SagaError
from ..settings import Settings
from ..system.stack import read_stacks
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
            metavar="NAME[@VERSION]",
            help=f"{NAMES} With a version's first digits: what any system has run.",
        ),
    ] = None,
    data: Data = None,
    target: Where = None,
    timeout: Timeout = READY_TIMEOUT,
    force: Annotated[
        bool, typer.Option("--force", help="Also what runs already: for new secrets, a new image.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be done, and do nothing.")
    ] = False,
) -> None:
    """Deploy functions, sagas and adapters as their code is now.

    All of them where none is named. NAME@VERSION deploys a version that another system has run,
    such as staging, whose artifact store is shared.

    The new version starts beside the old one, which ends once the new one is healthy. When it does
    not get healthy, it is taken down and the old one stays. Only an adapter's container, which has
    its port for itself, ends a moment before the new one starts.
    """
    releasing = _releasing(settings_for(data, target), timeout)
    changed: Sequence[object]
    if dry_run:
        changed = changes = releasing.dry_run(names or [], force=force)
        for text in map(described, changes):
            console.print(line(text), soft_wrap=True)
    else:
        changed = releases = releasing.deploy(names or [], force=force)
        for release in releases:
            _tell(release)
    if not changed:
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
    force: Annotated[
        bool, typer.Option("--force", help="On the packages, or the image, of now.")
    ] = False,
) -> None:
    """Deploy an earlier version again.

    Its stack file is the one of that time, as its code is, and so is a container's image. A process
    is refused where other packages are installed now.
    """
    releasing = _releasing(settings_for(data, target), timeout)
    _tell(releasing.roll_back(name, version, force=force))


@app.command()
def scale(
    wanted: Annotated[list[str], typer.Argument(metavar="NAME=N", help="How many of each.")],
    data: Data = None,
    target: Where = None,
    timeout: Timeout = READY_TIMEOUT,
) -> None:
    """Run N instances of each, until `saga down`."""
    counts = counts_of(wanted)
    releasing = _releasing(settings_for(data, target), timeout)
    releasing.scale(counts)
    show([i for i in releasing.target.instances() if i.deployed in counts])


def counts_of(wanted: Sequence[str]) -> dict[str, int]:
    """Read NAME=N of each; raise a `SagaError` where one is not of that form, or named twice."""
    counts: dict[str, int] = {}
    for word in wanted:
        name, _, number = word.partition("=")
        # More digits than anybody has instances: Python refuses to read thousands of them.
        if not name or not re.fullmatch("[0-9]{1,9}", number):
            raise SagaError(f"{word}: not of the form NAME=N")
        if name in counts:
            raise SagaError(f"{name} is named twice")
        counts[name] = int(number)
    return counts


@app.command()
def remove(
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="As in `saga ps`.")],
    data: Data = None,
    target: Where = None,
) -> None:
    """Drain and stop all instances of what is named.

    Messages wait for a deploy; who calls an adapter is refused.
    """
    names = list(dict.fromkeys(names))
    _releasing(settings_for(data, target), READY_TIMEOUT).remove(names)
    console.print(f"{', '.join(names)}: removed")


@app.command()
def deployments(name: Name, data: Data = None, as_json: Json = False, target: Where = None) -> None:
    """List the versions of a function that were deployed.

    The newest first, with when that was and by whom, and of which commit: `+` where the version's
    files were not as in it.
    """
    settings = settings_for(data, target)
    found = history.deployments(open_store(settings.artifacts), settings.deployed_on, name)
    if not found:
        _check_known(name, settings)
    found.reverse()
    if as_json:
        print(json.dumps([entry.model_dump(mode="json") for entry in found], indent=1))
        return
    table = bare_table()
    for column in ("VERSION", "DEPLOYED", "BY", "REPLACED", "COMMIT", "IMAGE"):
        table.add_column(column)
    for entry in found:
        before = (entry.replaced or "")[:SHOWN]
        commit = (entry.commit or "")[:SHOWN] + ("+" if entry.dirty else "")
        image = (entry.image or "").removeprefix("sha256:")[:SHOWN]
        table.add_row(entry.version[:SHOWN], moment(entry.at), entry.by, before, commit, image)
    console.print(table if found else f"No deployment of {name} is known.")


def _check_known(name: str, settings: Settings) -> None:
    """Raise a `SagaError` for what is in no stack file; what was never deployed may be there."""
    there = {name for stack in read_stacks(settings.saga_stacks) for name in stack.names()}
    past = history.deployments(open_store(settings.artifacts), settings.deployed_on)
    known = there.union(entry.name for entry in past)
    if name not in known:
        raise SagaError(f"{name}: not one of {', '.join(sorted(known)) or 'any'}")


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
    raise_when_told_to_end()
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
