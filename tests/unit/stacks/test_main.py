"""The program's first lines, before its imports."""

import signal
import subprocess
import sys

import pytest

ENDED_WHILE_IT_IMPORTS = """
import os, signal, sys
own, os.getpid = os.getpid(), lambda: {pid}

class Finder:
    def find_spec(self, name, *_):
        if name == "saga.stacks.cli":
            os.kill(own, signal.SIGTERM)

from saga.stacks.__main__ import main
sys.meta_path.insert(0, Finder())
main()
"""


@pytest.mark.parametrize(("pid", "code"), [(1, 128 + signal.SIGTERM), (2, -signal.SIGTERM)])
def test_what_imports_ends_when_it_is_told_to_as_a_containers_first_process_too(pid, code):
    program = ENDED_WHILE_IT_IMPORTS.format(pid=pid)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")
