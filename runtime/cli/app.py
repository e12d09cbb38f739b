"""The root of the command: its options, and what becomes of an error."""

import errno
import os
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from ..data_directory import check_no_file
from ..errors import SagaError
from ..settings import Settings, TargetName
from .tasks import ByTask
from .terminal import errors, line

app = typer.Typer(
    name="saga",
    cls=ByTask,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
OF_SETTINGS = {"--broker", "--data", "--target", "-t"}  # options that settings go under

Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="The system's data directory [default: .saga]."),
]

Broker = Annotated[str, typer.Option(metavar="embedded|kafka|ADDRESS", help="The broker to use.")]

STOP_TIMEOUT = 45.0  # seconds that a system has to stop: three groups of processes drain for 10


def in_lower_case(saga_id: str | None) -> str | None:
    """Write a saga's id as it is stored."""
    return saga_id and saga_id.lower()


SagaId = Annotated[str, typer.Argument(help="The saga's id.", callback=in_lower_case)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]

Where = Annotated[
    TargetName | None,
    typer.Option("--target", "-t", help="Processes or containers [default: SAGA_TARGET]."),
]


def settings_for(data: Path | None, target: TargetName | None = None) -> Settings:
    """Return the environment's settings, with what the command line says instead."""
    try:
        settings = Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        reason = first["msg"].removeprefix("Value error, ")
        raise SagaError(f"environment variable {name}: {reason}") from None
    told = {"saga_data": data, "saga_target": target}
    settings = settings.model_copy(update={key: value for key, value in told.items() if value})
    check_no_file(settings.saga_data)
    return settings


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"saga {metadata.version('saga-functions')}")
        raise typer.Exit


def without_empty(words: Sequence[str]) -> list[str]:
    """Leave out the options of settings that have no value, as `--data "$UNSET"` gives them."""
    kept: list[str] = []
    for word in words:
        if not word and kept and kept[-1] in OF_SETTINGS:
            kept.pop()
        elif not word.endswith("=") or word.removesuffix("=") not in OF_SETTINGS:
            kept.append(word)
    return kept


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Order sagas over Kafka, built from serverless-style handler functions."""


def main() -> None:
    """Run the command; an error that we know is one line and exit code 1.

    Modules of the current folder can be imported, as with `python -m`: a stack file may name them.
    """
    sys.path.append(str(Path.cwd()))
    try:
        try:
            _check_words(sys.argv[1:])
            app(without_empty(sys.argv[1:]))
        finally:
            sys.stdout.flush()  # or else its error comes when nobody can tell it any more
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)  # who has read enough need not be told
    except Exception as error:
        if not _is_told(error):
            raise
        errors.print(line(("saga:", "red"), f" {_words(error)}"), soft_wrap=True)
        sys.exit(1)


def _check_words(words: Sequence[str]) -> None:
    for word in words:
        if any("\ud800" <= letter <= "\udfff" for letter in word):
            raise SagaError(f"{word}: not in the encoding of this terminal, UTF-8 as a rule")


def _words(error: Exception) -> str:
    """Return an error's own words; a full disk's name no place, as they come from any stream."""
    if isinstance(error, OSError) and error.errno in FULL and error.filename is None:
        return f"{error.strerror}, be it for standard output or in the data directory"
    return str(error).strip()


def _is_told(error: Exception) -> bool:
    """Tell whether the error's own words are enough."""
    if isinstance(error, SagaError | OSError):
        return True
    import peewee  # its drivers take longer to import than most commands do to run

    return isinstance(error, peewee.DatabaseError)
