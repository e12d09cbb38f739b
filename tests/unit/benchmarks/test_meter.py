"""The meters."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from benchmarks.meter import cpu_seconds, machine_speed

# Starts a process, waits for a line, and ends.
PARENT = """
import subprocess, sys
subprocess.run([sys.executable, "-c", "sum(range(5_000_000))"])
child = subprocess.Popen([sys.executable, "-c", "print(sum(range(5_000_000))); input()"])
child.wait()
"""


@pytest.fixture
def parent() -> Iterator["subprocess.Popen[str]"]:
    """A process one of whose children has ended, and another has worked and waits."""
    command = [sys.executable, "-c", PARENT]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        yield process
        process.communicate("\n")


def test_processes_count_with_those_that_they_started(parent):
    import psutil

    alone = sum(psutil.Process(parent.pid).cpu_times()[:2])
    assert cpu_seconds({"app": [parent.pid]})["app"] > alone


def test_process_that_is_listed_belongs_to_its_own_part(parent):
    import psutil

    [child] = psutil.Process(parent.pid).children()
    together = cpu_seconds({"app": [parent.pid]})["app"]
    apart = cpu_seconds({"app": [parent.pid], "child": [child.pid]})
    assert apart["child"] > 0
    assert sum(apart.values()) == pytest.approx(together)


def test_process_that_is_gone_uses_nothing():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert cpu_seconds({"gone": [process.pid]}) == {"gone": 0}


def test_own_process_is_measured():
    assert cpu_seconds({"own": [os.getpid()]})["own"] > 0


def test_machine_takes_its_time():
    assert 0 < machine_speed() < 10_000
