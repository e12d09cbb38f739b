"""All systems that can be measured, by name, and what has to be there before they run."""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from . import peers
from .bare import bare
from .dbos import dbos
from .ours import OURS
from .restate import restate
from .system import System

BATCH = ["chrt", "--batch", "0"]
PEERS: Mapping[str, System] = {
    "restate": restate("alone"),
    "restate-batch": restate("alone", BATCH),
    "restate-calls": restate("calls"),
    "dbos": dbos,
}
SYSTEMS: Mapping[str, System] = {**OURS, "bare": bare(BATCH), **PEERS}


def prepare(names: Iterable[str], folder: Path) -> None:
    """Make the folder, with the engines in it that the systems of these names need."""
    folder.mkdir(parents=True, exist_ok=True)
    if not PEERS.keys().isdisjoint(names):
        print("installing the other engines", file=sys.stderr, flush=True)
        peers.install(folder)
