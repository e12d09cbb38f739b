"""What a user's code raises ends no process, and what it forks does not go on as one of ours."""

import subprocess
import sys

import pytest

FORKS = """
import os, sys
from saga.runtime.errors import ContractError, Tame

child = None
try:
    with Tame("it", ContractError):
        child = os.fork()
        {then}
except (ContractError, ZeroDivisionError):
    pass
print("goes on", os.waitpid(child, 0)[1] >> 8 if child else "as another one", flush=True)
"""


@pytest.mark.parametrize(
    ("then", "code"), [("pass", 0), ("child or sys.exit(3)", 0), ("child or 1 / 0", 1)]
)
def test_process_that_is_forked_in_a_users_code_ends_with_it(then: str, code: int) -> None:
    command = [sys.executable, "-c", FORKS.format(then=then)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert ran.stdout == f"goes on {code}\n"
