"""What a process brings along from its fork server, and what it does not."""

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
    })
"""


def test_a_process_has_what_it_needs_looks_not_through_it_and_runs_no_main_module(
    tmp_path: Path,
) -> None:
    (tmp_path / "main.py").write_text(MAIN)
    (tmp_path / "told.py").write_text(TOLD)
    command = [sys.executable, str(tmp_path / "main.py")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
    assert (run.returncode, run.stderr) == (0, "")
    assert json.loads(run.stdout) == {
        "runs of main": 0,
        "has a host": True,
        "looks through it": False,
    }
