"""The data directory: it is known as ours by a file in it, and no other folder is written to."""

from collections.abc import Collection
from pathlib import Path

from .errors import SagaError

MARKER = ".saga-data"
TEXT = "The databases, topics, versions and logs of Saga Functions.\n"


class NotOurs(SagaError):
    """The folder that is to be the data directory holds what is somebody else's."""


def is_ours(names: Collection[str]) -> bool:
    """Tell whether a folder that holds these names is a data directory, or may become one."""
    # Each disk has its lost+found. What an earlier version has made has no marker, but all three.
    return set(names) <= {"lost+found"} or MARKER in names or {"lock", "logs", "health"} <= {*names}


def check_no_file(folder: Path) -> None:
    """Raise `NotOurs` where the path, or what it leads through, is a file."""
    for path in (folder, *folder.parents):
        if path.exists() and not path.is_dir():
            raise NotOurs(f"{path.absolute()} is a file: choose another data directory with --data")


def claim(folder: Path) -> None:
    """Make a folder a data directory; raise `NotOurs` where it holds something else."""
    make_folder(folder)
    if not is_ours([path.name for path in folder.iterdir()]):
        raise NotOurs(
            f"{folder.absolute()} is not empty, and no data directory: choose another with --data, "
            f"or make a file {MARKER} in it"
        )
    _mark(folder)


def make_folder(folder: Path) -> None:
    """Make a folder, as ours, unless it is there."""
    if not folder.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _mark(folder)


def _mark(folder: Path) -> None:
    if not (folder / MARKER).exists():
        (folder / MARKER).write_text(TEXT)
