"""What the driver knows of a system, whichever engine it is on."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from .books import Books
from .load import Api
from .meter import Parts

SETTLED = 12.0  # seconds until a system does no more than it does for long


class Running(NamedTuple):
    """A system that runs: where it takes orders, its processes by part, and what its stores hold.

    `versions` are those of all that takes part; `syncs` says what is on disk before a step counts.
    """

    api: Api
    parts: Parts
    books: Callable[[], Books]
    versions: Mapping[str, str]
    syncs: str


# Starts a system in an empty folder, for as long as a block; the other folder has the peers.
System = Callable[[Path, Path], AbstractContextManager[Running]]
