"""What a process brings along from its fork server and what not, and what it hands back."""

import json
import subprocess
import sys
from pathlib import Path

from support.waiting import DEADLINE

MAIN = """
import json
import multiprocessing
import told
from saga.runtime.system.launch import Launch, start_fork_server

told.main_runs()
if __name__ == "__main__":
    context = multiprocessing.get_context("forkserver")
    start_fork_server(context)
    process, reports = Launch(context, told.tell)()
    print(json.dumps(reports.recv()))
    process.join()
"""
TOLD = """
import gc
import sys

runs = 0

def main_runs():
    global runs
    runs += 1

def tell(reports):
    host = sys.modules.get("saga.runtime.system.host")
    reports.send({
        "runs of main": runs,
        "has a host": host is not None,
        "looks through it": any(host is one for one in gc.get_objects()),
        "has looked through all": gc.get_stats()[2]["collections"],
        "collects": gc.isenabled(),
    })
"""

ELSEWHERE = """
import multiprocessing
import os
from pathlib import Path
from saga.runtime.system.launch import elsewhere
from saga.runtime.system.stack import read_stack

def attempt(work, *arguments):
    try:
        return elsewhere(multiprocessing.get_context("forkserver"), work, *arguments)
    except Exception as error:
        return repr(error)

if __name__ == "__main__":
    print(attempt(os.getpid) != os.getpid())
    print(attempt(int, "7"))
    print(attempt(read_stack, Path("none.toml")))
    print(attempt(os._exit, 0))
"""


def run(folder: Path, main: str) -> list[str]:
    """Run a main module; return what it prints, by lines."""
    path = folder / "main.py"
    path.write_text(main)
    command = [sys.executable, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_a_process_has_what_it_needs_looks_not_through_it_and_runs_no_main_module(
    tmp_path: Path,
) -> None:
    (tmp_path / "told.py").write_text(TOLD)
    [report] = run(tmp_path, MAIN)
    assert json.loads(report) == {
        "runs of main": 0,
        "has a host": True,
        "looks through it": False,
        "has looked through all": 0,
        "collects": True,
    }


def test_work_done_elsewhere_returns_raises_or_is_told_to_have_ended(tmp_path: Path) -> None:
    assert run(tmp_path, ELSEWHERE) == [
        "True",
        "7",
        "StackError(\"none.toml: [Errno 2] No such file or directory: 'none.toml'\")",
        "ChildProcessError('the process of _exit has ended')",
    ]
