"""How much memory one order touches, in each part of a system, beside the CPU that it takes.

    python -m benchmarks.footprint --systems ours bare restate

Where many processes take turns on few cores, what one of them has touched is in no cache any more
when its next turn comes: it pays for each piece of memory anew. An order that completes is placed
while nothing else is; then the kernel tells which pages its processes have touched ("Referenced",
proc(5)), whole ones, those of programs and libraries, too. As much is told of the same time
without any order.
"""

import argparse
import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median
from typing import NamedTuple

import uvloop

from .load import HOST, Api, closed_loop, read_answer, request
from .meter import Parts, cpu_seconds, processes
from .orders import Order, orders
from .processes import as_a_command, scratch_folder
from .report import header, row
from .system import SETTLED, Running
from .systems import SYSTEMS, prepare

REFERENCED = "Referenced:"
FORGET = "1"  # of what all mappings of a process have touched

Parted = Mapping[str, float]  # by part


class Touched(NamedTuple):
    """The bytes that an order touches in each part, and those that no order does meanwhile."""

    by_order: Parted
    by_nothing: Parted


def forget(parts: Parts) -> None:
    """Begin anew to take down which pages the processes touch."""
    for _, process in processes(parts):
        with suppress(ProcessLookupError):
            Path(f"/proc/{process.pid}/clear_refs").write_text(FORGET)


def touched(parts: Parts) -> dict[str, int]:
    """Add up the bytes of the pages that each part's processes have touched since then."""
    told = dict.fromkeys(parts, 0)
    for part, process in processes(parts):
        with suppress(ProcessLookupError, FileNotFoundError):
            for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
                if line.startswith(REFERENCED):
                    told[part] += int(line.split()[1]) * 1024
    return told


def table(name: str, found: Touched, cpu: Parted) -> Iterator[str]:
    """Yield the rows of a system; `cpu` is the seconds that an order takes of each part."""
    for part, by_order in found.by_order.items():
        yield _row(name, part, by_order, found.by_nothing[part], cpu[part])
    columns = (found.by_order, found.by_nothing, cpu)
    yield _row(name, "all", *[sum(column.values()) for column in columns])


def _row(name: str, part: str, by_order: float, by_nothing: float, cpu: float) -> str:
    megabytes = (f"{size / 1e6:.1f}" for size in (by_order, by_nothing))
    return row(name, part, *megabytes, f"{cpu * 1000:.2f}")


async def one_by_one(api: Api, some: Sequence[Order], parts: Parts) -> Touched:
    """Place orders one after the other; return the medians of what each of them touches."""
    by_order, by_nothing = list[dict[str, int]](), list[dict[str, int]]()
    reader, writer = await asyncio.open_connection(HOST, api.port)
    try:
        for one in some:
            forget(parts)
            began = time.monotonic()
            writer.write(request(api, one))
            await read_answer(reader)
            took = time.monotonic() - began
            by_order.append(touched(parts))
            forget(parts)
            await asyncio.sleep(took)
            by_nothing.append(touched(parts))
    finally:
        writer.close()
    return Touched(_medians(by_order), _medians(by_nothing))


def _medians(found: Sequence[Mapping[str, int]]) -> dict[str, float]:
    return {part: median(one[part] for one in found) for part in found[0]}


def measure(running: Running, seconds: float, start: float, count: int) -> tuple[Touched, Parted]:
    """Return what orders touch, and the CPU of one while others follow it: seconds, by part."""
    numbers = (one for one in orders() if one.completes)
    cpu = partial(cpu_seconds, running.parts)
    run = uvloop.run(closed_loop(running.api, numbers, 1, start, seconds, cpu))
    used = {part: spent / len(run.latencies) for part, spent in run.cpu.items()}
    some = list(islice(numbers, count))
    return uvloop.run(one_by_one(running.api, some, running.parts)), used


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.footprint", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    names, usual = ", ".join(SYSTEMS), ["ours", "bare", "restate"]
    add("--systems", nargs="+", choices=SYSTEMS, default=usual, metavar="SYSTEM", help=names)
    add("--orders", type=int, default=20, metavar="N", help="whose memory is looked at")
    add("--seconds", type=float, default=5.0, metavar="S", help="in which CPU is measured before")
    add("--start", type=float, default=SETTLED, metavar="S", help="before all that")
    add("--folder", type=Path, default=Path(".benchmarks"), help="for the engines and their data")
    wanted = parser.parse_args()
    folder: Path = wanted.folder.absolute()
    with as_a_command():
        prepare(wanted.systems, folder)
        print(*header("system", "part", "MB an order", "MB without", "CPU ms an order"), sep="\n")
        for name in wanted.systems:
            with SYSTEMS[name](scratch_folder(folder), folder) as running:
                found = measure(running, wanted.seconds, wanted.start, wanted.orders)
            print(*table(name, *found), sep="\n", flush=True)


if __name__ == "__main__":
    main()
