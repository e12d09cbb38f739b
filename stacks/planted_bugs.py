"""Bugs to be planted, one at a time, to see whether the simulation notices: tests of the tests.

Each is a small change of one function's source. It is put into the function itself, so that it is
there for whoever has imported it; a bug whose place is gone says so.

What no run would show is a matter of unit tests: money of three decimal places, which nobody here
asks for, or a second round of an undo that is too short, for which a run is.
"""

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from saga.runtime.database.statements import Prepared
from saga.runtime.errors import SagaError

_LIST = Path(__file__).with_suffix(".txt")


@dataclass(frozen=True)
class Bug:
    """In the function `target` of a module, `new` stands where `old` is right."""

    name: str
    module: str
    target: str
    old: str
    new: str


def _read(text: str) -> Iterator[Bug]:
    for paragraph in text.strip().split("\n\n"):
        if not paragraph.startswith("#"):
            head, right, *wrong = paragraph.splitlines()
            name, module, target = re.split(" in |:", head)
            instead = " ".join(line[2:] for line in wrong)
            yield Bug(name, f"saga.{module}", target, right[2:], instead)


BUGS = {bug.name: bug for bug in _read(_LIST.read_text(encoding="utf-8"))}


@contextmanager
def planted(bug: Bug) -> Iterator[None]:
    """Let a function have a bug meanwhile; raise `SagaError` if its place is not there any more."""
    found: Any = importlib.import_module(bug.module)
    for name in bug.target.split("."):
        found = getattr(found, name, None)
    function = found.build if isinstance(found, Prepared) else found
    if not isinstance(function, FunctionType):
        raise SagaError(f"{bug.name}: {bug.module} has no function {bug.target} any more")
    whole, function.__code__ = function.__code__, _changed(bug, function)
    try:
        with found.built_anew() if isinstance(found, Prepared) else nullcontext():
            yield
    finally:
        function.__code__ = whole


def _changed(bug: Bug, function: FunctionType) -> CodeType:
    source = textwrap.dedent(inspect.getsource(function))
    if bug.old not in source:
        raise SagaError(f"{bug.name}: {bug.module}.{bug.target} has no {bug.old!r} any more")
    tree = ast.parse(source.replace(bug.old, bug.new))
    definition: Any = tree.body[0]
    definition.decorator_list = []  # it is declared already
    names: dict[str, Any] = {}
    code = compile(tree, function.__code__.co_filename, "exec")
    exec(code, function.__globals__, names)  # noqa: S102 - the source is our own
    changed: CodeType = names[definition.name].__code__
    return changed
