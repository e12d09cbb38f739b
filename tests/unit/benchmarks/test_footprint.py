"""What an order touches."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from benchmarks.footprint import Touched, forget, table, touched

SIZE = 30_000_000  # bytes
TOUCHES = f"""
import sys
memory = bytearray({SIZE})
for line in sys.stdin:
    if line == "touch\\n":
        memory[::1000] = memory[::1000]
    print(flush=True)
"""


@pytest.fixture
def process() -> Iterator["subprocess.Popen[str]"]:
    """A process that touches its memory when it is told to."""
    command = [sys.executable, "-c", TOUCHES]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as one:
        tell(one, "begin")
        yield one
        one.communicate()


def tell(process: "subprocess.Popen[str]", what: str) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{what}\n")
    process.stdin.flush()
    assert process.stdout.readline() == "\n"


def test_what_a_process_touches_is_told_of_each_time_anew(process) -> None:
    parts = {"app": [process.pid]}
    seen = []
    for what in ("touch", "nothing", "touch"):
        forget(parts)
        tell(process, what)
        seen.append(touched(parts)["app"])
    assert min(seen[0], seen[2]) > SIZE
    assert seen[1] < SIZE / 2


def test_process_that_is_gone_touches_nothing() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    parts = {"gone": [gone.pid]}
    forget(parts)
    assert touched(parts) == {"gone": 0}


def test_parts_are_told_and_their_sums() -> None:
    found = Touched({"host": 9_700_000, "broker": 2_900_000}, {"host": 5_200_000, "broker": 0})
    assert list(table("ours", found, {"host": 0.009, "broker": 0.0042})) == [
        "| ours | host | 9.7 | 5.2 | 9.00 |",
        "| ours | broker | 2.9 | 0.0 | 4.20 |",
        "| ours | all | 12.6 | 5.2 | 13.20 |",
    ]
