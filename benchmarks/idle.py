"""What a system takes that has nothing to do: its start, its processor time and its memory.

    python -m benchmarks.idle --seconds 30

It starts a system, lets it settle, and adds up what all its processes use while nobody asks
anything of them. Beside it, commands are run that people wait for.
"""

import argparse
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from statistics import median

import psutil

from saga.runtime.system.state import read_system

from .meter import Parts, cpu_seconds, processes
from .ours import OURS, SAGA, data_folder
from .processes import Command, as_a_command, scratch_folder
from .report import header, row
from .system import SETTLED

COMMANDS = ("ps", "--help")
TIMES = 7  # of each command


def memory(parts: Parts) -> dict[str, int]:
    """Add up the bytes of each part's processes; of what several share, each has its share."""
    told: dict[str, int] = {}
    for part, found in processes(parts):
        with suppress(psutil.NoSuchProcess):
            told[part] = told.get(part, 0) + found.memory_full_info().pss
    return told


def table(seconds: float, used: dict[str, float], held: dict[str, int]) -> Iterator[str]:
    """Yield the lines of the table of parts, and of their sums."""
    yield from header("part", "% of a core", "MB")
    for part, cpu in used.items():
        yield row(part, f"{cpu / seconds:.2%}", f"{held.get(part, 0) / 1e6:.0f}")
    yield row("all", f"{sum(used.values()) / seconds:.2%}", f"{sum(held.values()) / 1e6:.0f}")


def _measure(name: str, seconds: float, folder: Path) -> Iterator[str]:
    scratch = scratch_folder(folder)
    data = data_folder(scratch)
    with OURS[name](scratch, folder) as running:
        yield f"all ready after {_start(data):.2f} s"
        time.sleep(SETTLED)
        for command in COMMANDS:
            yield f"saga {command}: {_command(command, data):.2f} s"
        before, began = cpu_seconds(running.parts), time.monotonic()
        time.sleep(seconds)
        after, passed = cpu_seconds(running.parts), time.monotonic() - began
        used = {part: after[part] - before[part] for part in after}
        yield from ("", *table(passed, used, memory(running.parts)))


def _start(data: Path) -> float:
    """Return the seconds until all was ready, which the supervisor wrote down when it saw it."""
    pid = read_system(data).supervisor.pid
    return (data / "system.json").stat().st_mtime - psutil.Process(pid).create_time()


def _command(command: str, data: Path) -> float:
    """Return the median of the seconds that a command takes."""
    at: Command = ["--data", data] if command == "ps" else []
    seconds = []
    for _ in range(TIMES):
        began = time.monotonic()
        subprocess.run([SAGA, command, *at], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.monotonic() - began)
    return median(seconds)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.idle", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--system", choices=OURS, default="ours", metavar="SYSTEM", help=", ".join(OURS))
    add("--seconds", type=float, default=30.0, metavar="S")
    add("--folder", type=Path, default=Path(".benchmarks"), help="for the system's data")
    wanted = parser.parse_args()
    with as_a_command():
        for line in _measure(wanted.system, wanted.seconds, wanted.folder.absolute()):
            print(line, flush=True)


if __name__ == "__main__":
    main()
