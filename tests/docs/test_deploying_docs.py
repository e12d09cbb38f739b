"""The examples of docs/deploying.md, run as they stand."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from saga.runtime.system.stack import Stack
from support.waiting import DEADLINE

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "deploying.md").read_text()
BIN = Path(sys.executable).parent


@pytest.mark.proof
def test_function_is_made_and_deployed_alone_as_shown(start_system, tmp_path: Path) -> None:
    [commands] = re.findall(r"<!-- test: shell -->\n```sh\n(.*?)```", TEXT, re.DOTALL)
    system = start_system()
    before = system.processes()
    done = subprocess.run(
        ["bash", "-ec", commands],
        cwd=tmp_path,
        env={
            **os.environ,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "SAGA_DATA": str(system.data),
        },
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout[done.stdout.rindex("\n{") :])
    assert answer["outcome"] == "done"
    after = system.processes()
    assert after.pop("gift.wrap_gift")["state"] == "ready"
    assert after == before
    system.saga("down")


def test_stack_file_shown_is_one() -> None:
    [text] = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    stack = Stack.model_validate(tomllib.loads(text))
    assert stack.resources("wrap_gift").secrets == ("PAPER_KEY",)
    assert stack.resources("wrap_gift").cpu == 0.5


def test_every_command_shown_exists() -> None:
    named = set(re.findall(r"^saga ([\w-]+)", TEXT, re.MULTILINE))
    listed = subprocess.run(
        [BIN / "saga", "--help"], capture_output=True, text=True, timeout=DEADLINE
    )
    assert {"deploy", "rollback", "deployments", "scale", "remove", "invoke"} <= named
    for name in named:
        assert re.search(rf"^\W*{name}\b", listed.stdout, re.MULTILINE), name
