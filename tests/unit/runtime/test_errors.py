"""What a user's code raises ends no process, and what it forks does not go on as one of ours."""

import subprocess
import sys

import pytest

from saga.runtime.errors import (
    Conflict,
    Rejected,
    Unreadable,
    first_line,
    name_of,
    said,
    shown,
    traced,
)

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


class Evasive(Exception):
    """One whose own parts can't be had."""

    def __getattribute__(self, name: str) -> object:
        raise KeyError(name)

    def __str__(self) -> str:
        raise KeyError("text")

    __repr__ = __str__


def test_error_is_told_in_one_line_that_is_not_too_long() -> None:
    assert first_line(ValueError("burnt\nblack")) == "ValueError: burnt"
    assert first_line(ValueError("x" * 999)) == "ValueError: " + "x" * 488


def test_error_is_told_with_where_it_comes_from() -> None:
    try:
        raise ValueError("burnt") from KeyError("oven")
    except ValueError as error:
        told = traced(error)
    first, *_, last = told.splitlines()
    assert (first, last) == ("KeyError: 'oven'", "ValueError: burnt")
    assert "\nTraceback (most recent call last):\n" in told
    assert __file__ in told
    assert told == told.strip()


def test_error_whose_parts_can_not_be_had_is_told_by_its_name() -> None:
    error = Evasive()
    assert (said(error), shown(error), name_of(error)) == ("<Evasive>", "<Evasive>", "Evasive")
    assert traced(error) == first_line(error) == "Evasive: <Evasive>"


def test_thing_is_shown_as_python_writes_it() -> None:
    assert (shown("rye"), said("rye")) == ("'rye'", "rye")


def test_a_person_may_interrupt_what_tells_of_an_error() -> None:
    class Slow(Exception):
        def __str__(self) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        said(Slow())


def test_errors_with_a_code_tell_it() -> None:
    assert str(Rejected("burnt", "black")) == "burnt: black"
    conflicts = [Conflict("ended"), Conflict("ended", "saga_ended"), Unreadable("ended")]
    assert [str(one) for one in conflicts] == ["ended"] * 3
    assert [one.code for one in conflicts] == ["conflict", "saga_ended", "saga_unreadable"]
