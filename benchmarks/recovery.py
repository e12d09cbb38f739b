"""How long a function's messages wait when its process is killed with -9 under load.

Of the order system that runs on SAGA_DATA: `python -m benchmarks.recovery order.create_order 10`
kills it ten times, and prints the seconds from each kill to the first answer after it. The load is
`saga bench --rate`, whose own report tells whether all orders were right in the end.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from statistics import median

from saga.runtime.envelope import Record
from saga.runtime.function import load
from saga.runtime.kafka.tail import Tail
from saga.runtime.settings import Settings
from saga.runtime.system.state import read_system

RATE = 50  # sagas started per second
CALM = 11.0  # seconds until the next kill: one sooner is taken for a series, which is slowed down
LONGEST = 5.0  # seconds of load for each recovery
IN_FLIGHT = 0.05  # seconds in which answers of the killed process still arrive


def main(name: str, kills: int) -> None:
    """Kill a function again and again under load, and print how long each recovery took."""
    settings = Settings()
    system = read_system(settings.saga_data)
    function = load(f"saga.functions.{name}")
    assert function.command is not None
    topic, event = function.command.event.topic, function.command.event.__name__.encode()
    arrived = [time.monotonic()]

    def hear(records: Sequence[Record]) -> None:
        if any(("ce_type", event) in record.headers for record in records):
            arrived.append(time.monotonic())

    tail = Tail(settings.on_broker(system.broker), topic, hear)
    sagas = int(RATE * (CALM + LONGEST) * kills)
    with subprocess.Popen(["saga", "bench", "--sagas", str(sagas), "--rate", str(RATE)]) as load_:
        waits = [_recovery(settings, name, arrived) for _ in range(kills)]
        print("seconds:", " ".join(f"{wait:.2f}" for wait in sorted(waits)))
        print(f"median {median(waits):.2f}, longest {max(waits):.2f}")
    tail.close()
    sys.exit(load_.returncode)


def _recovery(settings: Settings, name: str, arrived: list[float]) -> float:
    time.sleep(CALM)
    processes = read_system(settings.saga_data).processes
    [pid] = [process.pid for process in processes if process.name == name and process.pid]
    killed_at = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    while arrived[-1] < killed_at + IN_FLIGHT:
        if time.monotonic() > killed_at + 3 * LONGEST:
            sys.exit(f"no answer in {3 * LONGEST:g} s")
        time.sleep(0.01)
    return arrived[-1] - killed_at


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
