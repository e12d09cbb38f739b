"""The example of docs/sagas.md, run as it stands, and the figures in it."""

import re
import subprocess
import sys
from pathlib import Path

from saga.functions.orchestrator.place_order import place_order
from saga.runtime import Retry
from saga.runtime.topic import LIMIT
from support.waiting import DEADLINE

TEXT = (Path(__file__).parents[2] / "docs" / "sagas.md").read_text()


def test_its_tests_pass(tmp_path: Path) -> None:
    [(name, code)] = re.findall(r"<!-- test: file (\S+) -->\n```python\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / name).write_text(code)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE)
    assert "3 passed" in done.stdout, done.stdout + done.stderr


def test_its_defaults_are_those_of_a_saga() -> None:
    step, retry = place_order.steps[0], Retry()
    for told in (
        f"| {step.retry.attempts}, {step.undo_retry.attempts} |",
        f"| {retry.first:g} s doubling to {retry.longest:g} s,",
        f"| {step.timeout:g} s;",
        f"| {place_order.deadline:g} s |",
        f"up to {LIMIT} letters",
    ):
        assert told in re.sub(r"\s+", " ", TEXT)
