"""Logs of a bounded size: a full one gets another name, and what comes next begins a new file.

Whoever writes goes over to the new file first, and only then are names changed. So no line is lost,
as it can be where a file is copied and then cut, and a file that has got another name grows no more
under who reads it. Our processes go over with `dup2`: what C, a traceback or a `print` writes to
the standard streams comes along. A broker, which can't, writes to a pipe that the supervisor reads.

A kill at any moment leaves, at worst, the new file beside the log; the next writer changes names
then. What a program that a handler has started writes stays in the file that it was started with.
"""

import atexit
import io
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import BinaryIO

from ..errors import first_line
from ..settings import Settings

LOOK_EVERY = 1.0  # seconds between two looks at a log's size
GONE = 10  # instances that run no more whose logs stay
CHUNK = 65_536  # bytes that are read from a pipe at once
OF_LOGS = re.compile(r"(?P<name>.+)\.log(\.(?P<number>\d+)|\.new)?")
PERMISSIONS = 0o644

log = logging.getLogger(__name__)


def generation(file: Path, number: int) -> Path:
    """Return the name of a log's generation: 0 is the log, 1 what was written before."""
    return file.with_name(f"{file.name}.{number}") if number else file


def moves(there: Collection[int], files: int) -> list[tuple[int, int | None]]:
    """Say which generations get which number so that 0 is free, and which go (None), in order.

    None is overwritten, and no more than `files` stay with the new one. A gap that a kill has left
    is filled.
    """
    gap = next(number for number in count() if number not in there)
    after = {number: number + 1 if number < gap else number for number in there}
    last_first = sorted(there, reverse=True)
    gone: list[tuple[int, int | None]] = [(n, None) for n in last_first if after[n] >= files]
    return gone + [(n, after[n]) for n in last_first if n != after[n] < files]


def to_remove(written: Mapping[str, float], there: Collection[str]) -> list[str]:
    """Return the instances whose logs go, by when their logs were `written` last, in seconds.

    Of those that are not `there` any more, the newest logs stay.
    """
    gone = [(at, name) for name, at in written.items() if name not in there]
    return [name for _, name in sorted(gone)[:-GONE]]


def remove_gone(folder: Path, there: Iterable[str]) -> None:
    """Remove old logs of instances that are not `there` any more, as `to_remove` says."""
    files: dict[str, list[Path]] = {}
    with suppress(OSError):  # somebody else tidies up, too
        for file in folder.iterdir():
            if found := OF_LOGS.fullmatch(file.name):
                files.setdefault(found["name"], []).append(file)
        written = {name: max(f.stat().st_mtime for f in own) for name, own in files.items()}
        for name in to_remove(written, {"broker", "supervisor", *there}):
            for file in files[name]:
                file.unlink()


def turn_over(file: Path, settings: Settings) -> None:
    """Make the new file that lies beside a log, if there is one, the log itself."""
    new = _new(file)
    if not new.exists():
        return
    found = (OF_LOGS.fullmatch(one.name) for one in file.parent.iterdir())
    numbers = [int(f["number"] or 0) for f in found if f and f"{f['name']}.log" == file.name]
    there = {number for number in numbers if number or file.exists()}
    for old, number in moves(there, settings.saga_log_files):
        if number is None:
            generation(file, old).unlink()
        else:
            generation(file, old).rename(generation(file, number))
    new.rename(file)


def write_to(file: Path, settings: Settings) -> None:
    """Let all that this process writes to its standard streams go to a log that is rotated."""
    turn_over(file, settings)
    _redirect(file)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Else what a function prints would wait for 8 KB of it, and be lost with a kill.
        sys.stdout.reconfigure(line_buffering=True)
    rotate_own(file, settings)


def rotate_own(file: Path, settings: Settings) -> None:
    """Rotate a log from now on, if this process writes its standard error to it."""
    with suppress(OSError):
        if os.path.samestat(file.stat(), os.fstat(sys.stderr.fileno())):
            threading.Thread(target=_watch, args=(file, settings), daemon=True).start()


def _watch(file: Path, settings: Settings) -> None:
    fault = ""
    while True:
        time.sleep(LOOK_EVERY)
        try:
            if os.fstat(sys.stderr.fileno()).st_size >= settings.saga_log_bytes:
                _redirect(_new(file))
                turn_over(file, settings)
            fault = ""
        except OSError as error:
            if fault != (fault := first_line(error)):
                log.warning("this log can't be rotated: %s", fault)


def _redirect(file: Path) -> None:
    output = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, PERMISSIONS)
    os.dup2(output, sys.stdout.fileno())
    os.dup2(output, sys.stderr.fileno())
    os.close(output)


def open_pipe(file: Path, settings: Settings) -> BinaryIO:
    """Open a log, which is rotated, for another program: as a pipe, read until all have closed it.

    It is not waited for: a log that can't be written holds up nobody.
    """
    with suppress(OSError):
        turn_over(file, settings)
        file.touch(PERMISSIONS)  # there is a log, though the other program may never say a word
    reading, writing = os.pipe()
    copying = threading.Thread(target=_copy, args=(reading, file, settings), daemon=True)
    copying.start()
    atexit.register(copying.join, LOOK_EVERY)  # a program's last words
    return open(file, "wb", buffering=0, opener=lambda *_: writing)


def _copy(reading: int, file: Path, settings: Settings) -> None:
    with open(reading, "rb", buffering=0) as source:
        while chunk := source.read(CHUNK):
            # Opened anew: whatever has happened to the file, what comes next has one.
            with suppress(OSError):
                with file.open("ab", buffering=0) as output:
                    output.write(chunk)
                    is_full = output.tell() >= settings.saga_log_bytes
                if is_full:
                    _new(file).touch(PERMISSIONS)
                    turn_over(file, settings)


def _new(file: Path) -> Path:
    return file.with_name(f"{file.name}.new")
