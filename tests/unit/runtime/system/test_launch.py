"""What a process brings along from its fork server and what not, and what it hands back."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from saga.runtime.errors import SagaError
from saga.runtime.system.launch import socket_folder
from support.waiting import DEADLINE, wait_until

MAIN = """
import json
import multiprocessing
import os
import signal
import told
from multiprocessing import forkserver
from pathlib import Path
from saga.runtime.system.launch import Launch, start_fork_server

told.main_runs()
if __name__ == "__main__":
    context = multiprocessing.get_context("forkserver")
    start_fork_server(context, Path(__file__).with_name("run"))
    os.kill(forkserver._forkserver._forkserver_pid, signal.SIGINT)
    process, reports = Launch(context, told.tell)()
    print(json.dumps(reports.recv()))
    process.join()
"""
TOLD = """
import gc
import os
import signal
import sys

runs = 0

def wait(reports):
    # What measures the coverage would end in an error in a process that was forked.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    reports.send([os.getppid()])
    signal.pause()

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

CLEANED = """
import logging
import multiprocessing
import os
import shutil
import signal
import sys
from pathlib import Path
from saga.runtime.polling import poll_until
from saga.runtime.system import launch
from saga.runtime.system.child import Child
from saga.runtime.system.launch import Launch, start_fork_server
from saga.runtime.system.process import ProcessInfo
import told

def there(child):
    child.start()
    return child.reports.recv()

if __name__ == "__main__":
    logging.disable()
    launch.PRELOAD = launch.PRELOAD[:1]  # the others take longer than all the rest
    folder = Path(sys.argv[1])
    context = multiprocessing.get_context("forkserver")
    start_fork_server(context, folder)
    children = [
        Child(ProcessInfo(name="x", kind="function"), Launch(context, told.wait), folder / "log")
        for _ in range(3)
    ]
    first = there(children[0])
    [server] = first
    shutil.rmtree(folder)
    folder.mkdir()
    second = there(children[1])
    print("beside", [server] != second, *(child.alive() for child in children[:2]))
    os.kill(server, signal.SIGKILL)
    children[0].process.join()
    print("without", children[0].process.exitcode, children[0].alive())
    shutil.rmtree(folder)
    third = there(children[2])
    for child in children:
        child.stop()
        assert poll_until(lambda: not child.alive(), 60)
    print("stopped")
"""

HANGING = """
import os
import signal
from saga.runtime.system import launch

def hang(reports):
    launch.ORPHANED_FOR = 0.1
    launch.settle()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    reports.send(os.getpid())
    while True:
        signal.pause()
"""
ORPHANING = """
import multiprocessing
import os
import hanging
from saga.runtime.system.launch import Launch

if __name__ == "__main__":
    process, reports = Launch(multiprocessing.get_context("forkserver"), hanging.hang)()
    print(reports.recv(), flush=True)
    os._exit(0)
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


def run(folder: Path, main: str, *arguments: str) -> list[str]:
    """Run a main module; return what it prints, by lines."""
    path = folder / "main.py"
    path.write_text(main)
    command = [sys.executable, str(path), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_a_process_has_what_it_needs_looks_not_through_it_and_runs_no_main_module(
    tmp_path: Path,
) -> None:
    """Ctrl-C while the fork server imports is not for that, and changes nothing."""
    (tmp_path / "told.py").write_text(TOLD)
    [report] = run(tmp_path, MAIN)
    assert json.loads(report) == {
        "runs of main": 0,
        "has a host": True,
        "looks through it": False,
        "has looked through all": 0,
        "collects": True,
    }


def test_processes_outlive_their_fork_server_and_its_socket(tmp_path: Path) -> None:
    """The socket is removed by what cleans up, the server killed by what lacks memory."""
    (tmp_path / "told.py").write_text(TOLD)
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        assert run(tmp_path, CLEANED, f"{short}/run") == [
            "beside True True True",
            "without 255 True",
            "stopped",
        ]


def test_a_process_that_hangs_ends_when_its_supervisor_is_gone(tmp_path: Path) -> None:
    (tmp_path / "hanging.py").write_text(HANGING)
    (tmp_path / "main.py").write_text(ORPHANING)
    with subprocess.Popen(
        [sys.executable, tmp_path / "main.py"], stdout=subprocess.PIPE, text=True
    ) as main:
        assert main.stdout is not None
        hangs = psutil.Process(int(main.stdout.readline()))
    wait_until(lambda: not hangs.is_running(), "it is gone")


def test_socket_is_where_its_path_is_short_enough(tmp_path: Path) -> None:
    long = tmp_path / ("a" * 100)
    long.mkdir()
    assert socket_folder([tmp_path / "none", long, tmp_path]) == tmp_path
    assert list(long.iterdir()) == []
    with pytest.raises(SagaError, match=r"^no folder for a socket: .*aaa: AF_UNIX path too long$"):
        socket_folder([long])


def test_work_done_elsewhere_returns_raises_or_is_told_to_have_ended(tmp_path: Path) -> None:
    assert run(tmp_path, ELSEWHERE) == [
        "True",
        "7",
        "StackError(\"none.toml: [Errno 2] No such file or directory: 'none.toml'\")",
        "ChildProcessError('the process of _exit has ended')",
    ]
