"""Write files for other tools: `render compose`, `systemd`, `grafana`, `alerts`."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..address import brokers
from ..errors import SagaError
from ..settings import EMBEDDED, KAFKA, Settings
from ..system.stack import read_stacks
from .app import STOP_TIMEOUT, Broker, Data, app, settings_for

render = typer.Typer(
    help="Write files for other tools.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(render, name="render")

Output = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Where to [default: standard output].")
]


@render.callback()
def group() -> None:
    """Write files for other tools."""


@render.command()
def compose(output: Output = None) -> None:
    """Write a docker-compose.yml: all stacks, a broker and databases."""
    from ..deploy import compose

    stacks = read_stacks(settings_for(None).saga_stacks)
    _write(compose.compose(stacks, Settings.model_fields["saga_image"].default), output)


@render.command()
def systemd(
    data: Data = None,
    broker: Broker = EMBEDDED,
    run_as: Annotated[
        str | None,
        typer.Option(metavar="USER", help="A system's unit, run as USER [default: a user's own]."),
    ] = None,
    environment_file: Annotated[
        Path, typer.Option(metavar="FILE", help="With settings and secrets, NAME=VALUE each.")
    ] = Path("saga.env"),
    output: Output = None,
) -> None:
    """Write a systemd unit that starts this folder's system at boot.

    A secret never stands in it, but in the environment file, which should be yours alone to read.
    """
    from ..deploy.systemd import Unit

    _check_broker(broker)
    settings = settings_for(data)
    program = [sys.executable, str(Path(sys.argv[0]).absolute())]
    options = ["--data", str(settings.saga_data.absolute()), "--broker", broker]
    unit = Unit(
        command=[*program, "up", *options],
        folder=Path.cwd(),
        stacks=settings.saga_stacks.absolute(),
        environment_file=environment_file.absolute(),
        stop_timeout=STOP_TIMEOUT,
        user=run_as,
    )
    _write(unit.text(), output)


@render.command()
def grafana(output: Output = None) -> None:
    """Write a Grafana dashboard of all metrics."""
    from ..metrics.dashboard import dashboard

    _write(json.dumps(dashboard(), indent=1) + "\n", output)


@render.command()
def alerts(output: Output = None) -> None:
    """Write alert rules for Prometheus, for each function and saga."""
    import yaml

    from ..metrics.alerts import alerts

    stacks = read_stacks(settings_for(None).saga_stacks)
    hosted = [one for stack in stacks for one, _ in stack.load()]
    rules = alerts(one.name for one in hosted if one.topics)  # a timer is in no group
    _write(yaml.safe_dump(rules, sort_keys=False, width=100), output)


def _check_broker(broker: str) -> None:
    """Refuse what `saga up` would at each boot; a host need not be known before that."""
    try:
        broker in (EMBEDDED, KAFKA) or brokers(broker)
    except ValueError as error:
        raise SagaError(f"--broker: neither embedded nor kafka, and {error}") from None


def _write(text: str, output: Path | None) -> None:
    if output is None:
        print(text, end="")
        return
    try:
        output.write_text(text)
    except OSError as error:
        raise SagaError(f"{output}: {error.strerror}") from error
