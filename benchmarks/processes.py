"""Programs that run as long as a block, and are gone after it."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from saga.runtime.kafka.embedded import listens
from saga.runtime.polling import poll_until

ROOT = Path(__file__).parents[1]
STOP_TIMEOUT = 15.0  # seconds until a program that was asked to stop is killed
START_TIMEOUT = 240.0  # seconds
SIGNALS = (signal.SIGINT, signal.SIGTERM)

Command = Sequence[str | Path]


class Failed(Exception):
    """What was started did not do what it has to."""


@contextmanager
def as_a_command() -> Iterator[None]:
    """Run a block as a command: what failed is told in its own words, and the exit code is 1.

    Ctrl-C and SIGTERM end it as an error would, so that blocks end what they run.
    """
    for one in SIGNALS:
        signal.signal(one, _end)
    try:
        yield
    except Failed as failure:
        sys.exit(f"benchmarks: {failure}")


def _end(number: int, _: Any) -> NoReturn:
    # A second Ctrl-C would leave behind what the first has begun to end.
    for one in SIGNALS:
        signal.signal(one, signal.SIG_IGN)
    raise SystemExit(128 + number)


def scratch_folder(folder: Path) -> Path:
    """Return an empty folder in another one: what a run before has left in it is gone."""
    scratch = folder / "run"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    return scratch


@contextmanager
def running(
    command: Command,
    log: Path,
    env: Mapping[str, str] = {},
    folder: Path = ROOT,
) -> Iterator[int]:
    """Run a program with these variables besides ours; yield its number."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **env},
            cwd=folder,
            process_group=0,  # Ctrl-C in the terminal is for this program alone
        )
    try:
        yield process.pid
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # with what it left behind
        process.wait()


def run(
    command: Command,
    env: Mapping[str, str] = {},
    user: str | None = None,
    folder: Path = ROOT,
) -> str:
    """Run a program to its end and return what it printed; raise `Failed`, with its words."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, **env},
        user=user,
        extra_groups=None if user is None else [],
        cwd=folder,
    )
    if done.returncode:
        words = " ".join(map(str, command))
        raise Failed(f"{words} failed: {done.stdout[-1000:]}{done.stderr[-2000:]}")
    return done.stdout


def wait_for_port(port: int, log: Path) -> None:
    """Wait until somebody listens on a loopback port; raise `Failed`, which names the log."""
    if not poll_until(partial(listens, port), START_TIMEOUT):
        raise Failed(f"nobody listens on port {port} after {START_TIMEOUT:g} s: see {log}")
