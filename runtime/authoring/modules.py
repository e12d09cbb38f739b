"""What files say without being imported, and where: handlers, calls, the keys of TOML files."""

import ast
import re
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .facts import Place

RUNTIME = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Declaration:
    """A handler, or a saga, as its source declares it."""

    name: str
    place: Place


def handlers_in(file: Path) -> list[Declaration]:
    """List the handlers in a file without importing it."""
    return [
        Declaration(node.name, Place(file, decorator.lineno))
        for node in tree(file).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for decorator in node.decorator_list
        if last_name(decorator) == "function"
    ]


def sagas_in(file: Path) -> list[Declaration]:
    """List the sagas in a file without importing it, by the names that they are assigned to."""
    return [
        Declaration(target.id, Place(file, node.lineno))
        for node in tree(file).body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        if node.value is not None and last_name(node.value) == "Saga"
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    ]


def tree(file: Path) -> ast.Module:
    """Return a file's syntax tree, an empty one if it has none."""
    try:
        return ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return ast.Module([], [])  # its import says what is wrong


def calls(node: ast.AST, name: str) -> Iterator[ast.Call]:
    """List the calls of a name, whatever it is imported from."""
    found = (part for part in ast.walk(node) if isinstance(part, ast.Call))
    return (call for call in found if last_name(call) == name)


def argument(call: ast.expr, name: str, position: int = 1000) -> ast.expr | None:
    """Return a call's argument by name or position, None if it is not given."""
    if not isinstance(call, ast.Call):
        return None
    named = (keyword.value for keyword in call.keywords if keyword.arg == name)
    return next(named, call.args[position] if position < len(call.args) else None)


def last_name(node: ast.expr) -> str | None:
    """Return what an expression is or calls, in one word: `Step` of `runtime.Step(…)`."""
    if isinstance(node, ast.Call):
        return last_name(node.func)
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else None


def place_of(error: BaseException, home: Path) -> Place | None:
    """Return the line in the folder `home` that an error comes from, or None."""
    if isinstance(error, SyntaxError) and error.filename:
        return Place(Path(error.filename), error.lineno or 1)
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        if file.is_relative_to(home) and not file.is_relative_to(RUNTIME):
            return Place(file, frame.lineno or 1)
    return None


def toml_place(path: Path, key: str) -> Place:
    """Return where a TOML file sets a dotted key, or else the table around it."""
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        return Place(path)
    found, table = {"": 1}, ""
    for number, line in enumerate(lines, 1):
        if header := re.match(r"\s*\[\s*([^\]]+?)\s*\]", line):
            table = header.group(1).replace('"', "")
            found.setdefault(table, number)
        elif pair := re.match(r'\s*([\w."-]+)\s*=', line):
            name = pair.group(1).replace('"', "")
            found.setdefault(f"{table}.{name}".lstrip("."), number)
    while key not in found:
        key = key.rpartition(".")[0]
    return Place(path, found[key])
