"""Compare the order saga here with the same saga on Restate and on DBOS.

    python -m benchmarks --rounds 3 --in-flight 1 16 128

A round starts each system anew, one after the other, and drives it with 1, 16 and 128 orders in
flight; the next round begins with another system. So whatever else the machine does meets all.
After each, what clients were told is compared with what the stores hold: a difference ends the run.
What is printed is Markdown; how far it is goes to standard error.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import psutil
import uvloop

from saga.stacks.surroundings import this_machine

from . import report
from .books import violations
from .load import closed_loop
from .meter import cpu_seconds, machine_speed
from .orders import orders
from .processes import Failed, as_a_command, scratch_folder
from .report import Cell
from .system import SETTLED, Running
from .systems import SYSTEMS, prepare

USUAL = ["ours", "restate", "restate-calls", "ours-postgres", "dbos"]


def main() -> None:
    """Run the command."""
    wanted = _arguments()
    with as_a_command():
        _compare(wanted)


def _compare(wanted: argparse.Namespace) -> None:
    folder: Path = wanted.folder.absolute()
    prepare(wanted.systems, folder)
    cells: list[Cell] = []
    ran: dict[str, Running] = {}
    for number in range(wanted.rounds):
        for name in _turned(wanted.systems, number):
            _say(f"round {number + 1} of {wanted.rounds}: {name}")
            cells += _measure(name, wanted, folder, ran)
    _show(cells, ran, folder, as_json=wanted.json)


def _turned(names: Sequence[str], number: int) -> list[str]:
    """Return the systems in the order of a round: each is the first at some time."""
    first = number % len(names)
    return [*names[first:], *names[:first]]


def _measure(
    name: str, wanted: argparse.Namespace, folder: Path, ran: dict[str, Running]
) -> Iterator[Cell]:
    """Run a system and drive it; raise `Failed` where it has not done what clients were told."""
    with SYSTEMS[name](scratch_folder(folder), folder) as running:
        ran.setdefault(name, running)
        told: dict[int, bool] = {}
        numbers = orders()
        cpu = partial(cpu_seconds, running.parts)
        for in_flight in wanted.in_flight:
            before, warm_up = machine_speed(), wanted.warm_up if told else wanted.start
            load = closed_loop(running.api, numbers, in_flight, warm_up, wanted.seconds, cpu)
            run = uvloop.run(load)
            told |= run.told
            speed = (before + machine_speed()) / 2
            if len(run.latencies) < 2:
                raise Failed(f"{name} ended {len(run.latencies)} orders in {wanted.seconds:g} s")
            yield report.cell(name, in_flight, run.latencies, run.seconds, run.cpu, speed)
        if wrong := violations(told, running.books()):
            raise Failed(f"{name}: {'; '.join(wrong)}")


def _show(
    cells: Sequence[Cell], ran: Mapping[str, Running], folder: Path, *, as_json: bool
) -> None:
    machine, disk = this_machine(), _file_system(folder)
    versions = {name: running.versions for name, running in ran.items()}
    syncs = {name: running.syncs for name, running in ran.items()}
    if as_json:
        told = {
            "machine": {**machine.model_dump(), "file_system": disk},
            "versions": versions,
            "syncs": syncs,
            "cells": [{**one._asdict(), "total_cpu": one.total_cpu} for one in cells],
        }
        print(json.dumps(told, indent=1))
        return
    print(*report.surroundings(machine, disk, versions, syncs), "", sep="\n")
    print(*report.table(cells), sep="\n")


def _file_system(folder: Path) -> str:
    """Return the type of the file system that a folder is on: on tmpfs, nothing is synced."""
    parts = {Path(part.mountpoint): part.fstype for part in psutil.disk_partitions(all=True)}
    return next(parts[path] for path in (folder, *folder.parents) if path in parts)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add(
        "--systems",
        nargs="+",
        choices=SYSTEMS,
        default=USUAL,
        metavar="SYSTEM",
        help=", ".join(SYSTEMS),
    )
    add(
        "--in-flight",
        nargs="+",
        type=int,
        default=[1, 16, 128],
        metavar="N",
        help="orders at a time",
    )
    add("--rounds", type=int, default=3, metavar="N")
    add("--seconds", type=float, default=10.0, metavar="S", help="measured, of each cell")
    add("--warm-up", type=float, default=3.0, metavar="S", help="before each, not measured")
    add("--start", type=float, default=SETTLED, metavar="S", help="before a system's first cell")
    add("--folder", type=Path, default=Path(".benchmarks"), help="for the engines and their data")
    add("--json", action="store_true", help="print JSON, for programs")
    return parser.parse_args()


if __name__ == "__main__":
    main()
