"""The progress bar of commands that take a while."""

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

from .terminal import errors


def progress_bar(*columns: ProgressColumn) -> Progress:
    """Make a progress bar on standard error, with `columns` at its end; it vanishes when done."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        *columns,
        console=errors,
        transient=True,
    )
