"""How long a function's messages wait when its process is killed with -9 under load.

    python -m benchmarks.recovery --kills 5

Orders are in flight all the time; the process is killed again and again, and what counts are the
seconds from each kill to the first answer after it. In the end, what clients were told is compared
with what the stores hold.
"""

import argparse
import asyncio
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from saga.runtime.envelope import Record
from saga.runtime.function import load
from saga.runtime.kafka.tail import Tail
from saga.runtime.settings import Settings
from saga.runtime.system.state import read_system

from .books import violations
from .load import Run, place_orders
from .orders import orders
from .ours import OURS, data_folder
from .processes import Failed, as_a_command, scratch_folder
from .system import Running

IN_FLIGHT = 8  # orders
CALM = 11.0  # seconds between two kills: one sooner is taken for a series, which is slowed down
LONGEST = 240.0  # seconds until an answer
ON_ITS_WAY = 0.05  # seconds in which answers of the killed process still arrive


def main() -> None:
    """Run the command."""
    wanted = _arguments()
    with as_a_command():
        waits = _measure(wanted.system, wanted.function, wanted.kills, wanted.folder.absolute())
    print("seconds:", " ".join(f"{wait:.2f}" for wait in waits))
    print(f"median {median(waits):.2f}, longest {max(waits):.2f}")


def _measure(system: str, function: str, kills: int, folder: Path) -> list[float]:
    folder.mkdir(parents=True, exist_ok=True)
    scratch = scratch_folder(folder)
    with OURS[system](scratch, folder) as running:
        with _answers(data_folder(scratch), function) as arrived:
            told, waits = asyncio.run(
                _under_load(running, data_folder(scratch), function, kills, arrived)
            )
        if wrong := violations(told, running.books()):
            raise Failed("; ".join(wrong))
    return waits


@contextmanager
def _answers(data: Path, name: str) -> Iterator[list[float]]:
    """Keep the moment at which the function's last answers have arrived."""
    command = load(f"saga.functions.{name}").command
    if command is None:
        raise Failed(f"{name} answers no commands")
    kind, arrived = command.event.__name__.encode(), [time.monotonic()]

    def hear(records: Sequence[Record]) -> None:
        if any(("ce_type", kind) in record.headers for record in records):
            arrived[0] = time.monotonic()

    settings = Settings(saga_data=data).on_broker(read_system(data).broker)
    tail = Tail(settings, command.event.topic, hear)
    try:
        yield arrived
    finally:
        tail.close()


async def _under_load(
    running: Running, data: Path, name: str, kills: int, arrived: list[float]
) -> tuple[dict[int, bool], list[float]]:
    run, numbers = Run(), orders()
    clients = [
        asyncio.create_task(place_orders(running.api, numbers, run)) for _ in range(IN_FLIGHT)
    ]
    waits = []
    for number in range(kills):
        await asyncio.sleep(CALM if number else 1.0)
        waits.append(await _killed(data, name, arrived))
    run.over = True
    await asyncio.gather(*clients)
    return run.told, waits


async def _killed(data: Path, name: str, arrived: list[float]) -> float:
    """Kill the function's process; return after how many seconds there is an answer again."""
    processes = read_system(data).processes
    pid = next(process.pid for process in processes if process.name == name and process.pid)
    killed_at = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    while arrived[0] < killed_at + ON_ITS_WAY:
        if time.monotonic() > killed_at + LONGEST:
            raise Failed(f"{name} has not answered for {LONGEST:g} s")
        await asyncio.sleep(0.01)
    return arrived[0] - killed_at


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recovery", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--kills", type=int, default=5, metavar="N")
    add("--function", default="order.create_order", metavar="SERVICE.FUNCTION")
    add("--system", choices=OURS, default="ours", metavar="SYSTEM", help=", ".join(OURS))
    add("--folder", type=Path, default=Path(".benchmarks"), help="for the system's data")
    return parser.parse_args()


if __name__ == "__main__":
    main()
