"""Reads logs in a data directory: all that is left of them, and on as they grow and are rotated."""

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from ..settings import MOST_LOG_FILES
from .rotation import generation

CHUNK = 65_536  # bytes that are read at once
TAIL = 65_536  # bytes in which the last lines of a log are looked for
IsWanted = Callable[[str, str], bool]

LOOK_EVERY = 0.2  # seconds between two looks at logs that nobody has written to


def log_file(data: Path, name: str) -> Path:
    """Return where an instance's log is."""
    return data / "logs" / f"{name}.log"


def log_names(data: Path) -> dict[str, str]:
    """List what has left a log in a data directory, with what it is an instance of."""
    names = sorted(path.stem for path in (data / "logs").glob("*.log"))
    return {name: re.sub(r"-\d+$", "", name) for name in names}


def last_lines(file: Path, most: int) -> list[str]:
    """Return the last lines of a log, however long it is; those of more than `TAIL` bytes are cut.

    Where it has just been rotated, they are in what was written before.
    """
    found = b""
    for number in range(MOST_LOG_FILES):
        try:
            with generation(file, number).open("rb") as one:
                one.seek(-min(one.seek(0, os.SEEK_END), TAIL - len(found)), os.SEEK_END)
                found = one.read(TAIL - len(found)) + found
        except FileNotFoundError:
            break
        if len(found) >= TAIL or found.count(b"\n") > most:
            break
    lines = found.decode(errors="replace").split("\n")
    return (lines if lines[-1] else lines[:-1])[-most:]


def read_logs(data: Path, is_wanted: IsWanted, *, follow: bool) -> Iterator[tuple[str, str]]:
    """Read logs, also those of a system that has stopped, and go on as lines and logs come.

    `is_wanted` tells it by the name of an instance, and of what that is one.
    """
    with ExitStack() as opened:
        logs: dict[str, LogReader] = {}
        while True:
            idle = True
            names = log_names(data).items()
            for name in (one for one, deployed in names if is_wanted(one, deployed)):
                if name not in logs:
                    logs[name] = LogReader(log_file(data, name))
                    opened.callback(logs[name].close)
                for line in logs[name].lines():
                    idle = False
                    yield name, line
            if idle and not follow:
                ends = ((name, log.unfinished()) for name, log in logs.items())
                yield from ((name, end) for name, end in ends if end)
                return
            if idle:
                time.sleep(LOOK_EVERY)


class LogReader:
    """Reads a log from its oldest generation on, each line once, however it is rotated meanwhile.

    What is rotated out of existence before it was read is lost, and reading goes on with the oldest
    that is left.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._rest = b""  # of a line that is only half written

    def lines(self) -> Iterator[str]:
        """Go through the lines that have come."""
        while True:
            # Looked at first: a generation that is not the last one is not written to any more.
            later = self._next_generation()
            while self._file is not None and (chunk := self._file.read(CHUNK)):
                *whole, self._rest = (self._rest + chunk).split(b"\n")
                yield from (line.decode(errors="replace") for line in whole)
            if later is None:
                return
            self.close()
            self._file = later

    def skip(self) -> None:
        """Pass over what is there already."""
        self._file = self._path.open("rb")
        self._file.seek(0, os.SEEK_END)

    def unfinished(self) -> str:
        """Return what has come of a line."""
        return self._rest.decode(errors="replace")

    def close(self) -> None:
        """Read no more."""
        if self._file is not None:
            self._file.close()

    def _next_generation(self) -> BinaryIO | None:
        """Open what was written after the present file, or first of all; None where that is all.

        The newest is looked at first: numbers only grow, so none slips through on its way.
        """
        while True:
            own = None if self._file is None else os.fstat(self._file.fileno())
            later: tuple[Path, os.stat_result] | None = None
            for number in range(MOST_LOG_FILES):
                path = generation(self._path, number)
                try:
                    there = path.stat()
                except FileNotFoundError:
                    continue
                if own is not None and os.path.samestat(there, own):
                    break
                later = path, there
            else:
                if own is not None and own.st_nlink:
                    return None  # between two names
            if later is None:
                return None
            try:
                file = later[0].open("rb")
            except FileNotFoundError:
                continue
            if os.path.samestat(os.fstat(file.fileno()), later[1]):
                return file
            file.close()  # another one has this name by now


def last_words(text: str) -> str:
    """Find in a log what ended its process: what it told last, or the error below a traceback."""
    lines = [line for line in text.splitlines() if line.strip()]
    told = [line.removeprefix("saga: ") for line in lines if line.startswith("saga: ")]
    below = [line for before, line in pairwise(lines) if before.startswith("  ") and line[0] != " "]
    return (told or below or lines or [""])[-1]
