"""The root of the command: its options, and how errors and tables look."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..errors import SagaError
from ..settings import Settings, TargetName

app = typer.Typer(
    name="saga",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

PIPED_WIDTH = 160  # columns where there is no terminal to ask

console = Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)
errors = Console(stderr=True, highlight=False)

Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="The system's data directory [default: .saga]."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]

Where = Annotated[
    TargetName | None,
    typer.Option("--target", "-t", help="Processes or containers [default: SAGA_TARGET]."),
]

STATUS_COLOURS = {
    "COMPLETED": "green",
    "DONE": "green",
    "ready": "green",
    "RUNNING": "cyan",
    "starting": "cyan",
    "PENDING": "dim",
    "COMPENSATING": "yellow",
    "COMPENSATED": "yellow",
    "UNDOING": "yellow",
    "UNDONE": "yellow",
    "restarting": "yellow",
    "stopping": "yellow",
    "stopped": "red",
    "unhealthy": "red",
    "REJECTED": "red",
    "FAILED": "red",
    "UNDO_FAILED": "bold red",
    "UNREADABLE": "bold red",
}


def coloured(status: str) -> str:
    """Return a status in its colour, as rich markup."""
    colour = STATUS_COLOURS.get(status)
    return f"[{colour}]{status}[/]" if colour else status


def bare_table(*columns: str) -> Table:
    """Make a table without lines around its cells."""
    return Table(*columns, box=None, header_style="bold", pad_edge=False)


def settings_for(data: Path | None, target: TargetName | None = None) -> Settings:
    """Return the environment's settings, with what the command line says instead."""
    try:
        settings = Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        raise SagaError(f"environment variable {name}: {first['msg']}") from None
    told = {"saga_data": data, "saga_target": target}
    return settings.model_copy(update={key: value for key, value in told.items() if value})


@app.callback()
def root() -> None:
    """Order sagas over Kafka, built from serverless-style handler functions."""


def main() -> None:
    """Run the command; an error that we know is one line and exit code 1.

    Modules of the current folder can be imported, as with `python -m`: a stack file may name them.
    """
    sys.path.append(str(Path.cwd()))
    try:
        app()
    except Exception as error:
        if not _is_told(error):
            raise
        errors.print(f"[red]saga:[/] {escape(str(error).strip())}", soft_wrap=True)
        sys.exit(1)


def _is_told(error: Exception) -> bool:
    """Tell whether the error's own words are enough."""
    if isinstance(error, SagaError | OSError):
        return True
    import peewee  # its drivers take longer to import than most commands do to run

    return isinstance(error, peewee.OperationalError)
