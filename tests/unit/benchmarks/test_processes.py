"""Programs that run as long as a block."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from benchmarks import processes
from benchmarks.processes import Failed, run, running, wait_for_port
from support.ports import free_port

ROOT = Path(__file__).parents[3]
# Takes no notice of SIGTERM, and has a child.
STUBBORN = """
import signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
print(child.pid, flush=True)
child.wait()
"""
FAILING = """
from benchmarks.processes import Failed, as_a_command
with as_a_command():
    raise Failed("no reason")
"""
# Is interrupted twice.
INTERRUPTED = """
import os, signal
from benchmarks.processes import as_a_command
with as_a_command():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        signal.pause()
    finally:
        os.kill(os.getpid(), signal.SIGINT)
        print("in order")
"""


def test_scratch_folder_is_empty_whatever_was_in_it(tmp_path: Path) -> None:
    (processes.scratch_folder(tmp_path / "new") / "file").touch()
    assert [*processes.scratch_folder(tmp_path / "new").iterdir()] == []


def test_program_is_gone_after_its_block(tmp_path: Path) -> None:
    with running([sys.executable, "-c", "import signal; signal.pause()"], tmp_path / "log") as pid:
        assert psutil.pid_exists(pid)
    assert not psutil.pid_exists(pid)


def test_program_that_does_not_end_is_killed_with_its_children(
    tmp_path: Path, until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "STOP_TIMEOUT", 0.1)
    log = tmp_path / "log"
    with running([sys.executable, "-c", STUBBORN], log) as pid:
        until(lambda: log.read_text().strip(), "it runs")
        child = psutil.Process(int(log.read_text()))
    assert not psutil.pid_exists(pid)
    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, "it is gone")


def test_program_has_the_variables_that_it_is_given(tmp_path: Path, until) -> None:
    log = tmp_path / "log"
    code = "import os, signal; print(os.environ['ONE'], os.getcwd(), flush=True); signal.pause()"
    with running([sys.executable, "-c", code], log, {"ONE": "1"}):
        until(lambda: log.read_text().endswith("\n"), "it runs")
    assert log.read_text() == f"1 {ROOT}\n"


def test_run_returns_what_was_printed() -> None:
    assert run([sys.executable, "-c", "print('yes')"]) == "yes\n"


def test_run_that_fails_says_why() -> None:
    with pytest.raises(Failed, match=r"(?s)failed: .*no reason"):
        run([sys.executable, "-c", "raise SystemExit('no reason')"])


def test_port_that_nobody_listens_on_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "START_TIMEOUT", 0.01)
    port = free_port()
    with pytest.raises(Failed, match=f"nobody listens on port {port}"):
        wait_for_port(port, tmp_path / "log")


def command(code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)


def test_command_that_fails_says_why_in_one_line() -> None:
    done = command(FAILING)
    assert (done.stderr, done.returncode) == ("benchmarks: no reason\n", 1)


def test_interrupt_ends_what_runs_in_order_and_a_second_one_changes_nothing() -> None:
    done = command(INTERRUPTED)
    assert (done.stdout, done.returncode) == ("in order\n", 130), done.stderr
