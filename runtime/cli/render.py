"""Write what other tools deploy from: `render compose`."""

from pathlib import Path
from typing import Annotated

import typer

from ..errors import SagaError
from ..settings import Settings
from ..system.stack import read_stacks
from .app import app, settings_for

render = typer.Typer(
    help="Write what other tools deploy from.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(render, name="render")

Output = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Where to [default: standard output].")
]


@render.callback()
def group() -> None:
    """Write what other tools deploy from."""


@render.command()
def compose(output: Output = None) -> None:
    """Write a docker-compose.yml for all stacks, with a broker and a database server."""
    from ..deploy import compose

    stacks = read_stacks(settings_for(None).saga_stacks)
    _write(compose.compose(stacks, Settings.model_fields["saga_image"].default), output)


def _write(text: str, output: Path | None) -> None:
    if output is None:
        print(text, end="")
        return
    try:
        output.write_text(text)
    except OSError as error:
        raise SagaError(f"{output}: {error.strerror}") from error
