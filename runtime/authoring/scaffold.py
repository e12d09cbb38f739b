"""A new function, as `saga new function` makes it: its file, messages, stack entry and test.

`plan` works out all files before the first is written, so a refusal leaves nothing half made.
"""

import ast
import importlib.util
import keyword
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import SagaError
from ..message import snake_case
from .templates import Words, handler_text, import_line, message_text, plain_test

TAKEN_SERVICES = {"saga", "stacks", "tests"}  # folders and packages that are there already
TAKEN_NAMES = {"messages", "store", "events"}  # modules beside a function, the events' topic
LONGEST = 40  # letters in a name


@dataclass(frozen=True, slots=True)
class Change:
    """A file's new text; its folder is made where it is missing."""

    path: Path
    text: str
    is_new: bool

    def write(self) -> None:
        """Write the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(self.text)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a project has a service's files, and what its package is imported as."""

    root: Path
    package: str
    code: Path
    tests: Path
    stack: Path
    in_repository: bool


@dataclass(frozen=True, slots=True)
class NewFunction:
    """What was made."""

    layout: Layout
    changes: list[Change]
    file: Path
    test: Path

    def next_commands(self) -> list[str]:
        """Return the commands that test and check it, as they are typed."""
        test = self.test.relative_to(self.layout.root)
        go = [] if self.layout.root == Path() else [f"cd {self.layout.root}"]
        path = "" if self.layout.in_repository else "PYTHONPATH=. "
        return [*go, f"{path}python -m pytest {test}", "saga check"]


def new_function(full_name: str, folder: Path) -> NewFunction:
    """Make a function called `SERVICE.NAME` in the project in `folder`.

    Raises `SagaError`, and writes nothing, where the name can't be or something is there already.
    """
    made = plan(full_name, folder)
    for change in made.changes:
        try:
            change.write()
        except OSError as error:
            raise SagaError(f"{change.path}: {error.strerror}") from error
    return made


def plan(full_name: str, folder: Path) -> NewFunction:
    """Work out what a new function's files hold; raise `SagaError` where they can't be made."""
    words = _words(full_name)
    layout = _layout(folder, words.service)
    file = layout.code / f"{words.name}.py"
    test = layout.tests / f"test_{words.name}.py"
    for path in (file, test):
        if path.exists():
            raise SagaError(f"{path} is there already: nothing was made")
    changes = [
        *_package_files(layout, words.service),
        _messages(layout, words),
        Change(file, handler_text(words), is_new=True),
        *_stack(layout, words),
        Change(test, plain_test(words, layout.package), is_new=True),
    ]
    return NewFunction(layout, changes, file, test)


def _words(full_name: str) -> Words:
    service, dot, name = full_name.partition(".")
    for part in (service, name):
        if not dot or not re.fullmatch(r"[a-z][a-z0-9_]*", part) or keyword.iskeyword(part):
            raise SagaError(
                f"{full_name}: not of the form SERVICE.NAME, both in small_letters and no keyword"
            )
        if len(part) > LONGEST:
            raise SagaError(f"{full_name}: {part} is longer than {LONGEST} letters")
    words = Words(service, name)
    if service in TAKEN_SERVICES or name in TAKEN_NAMES:
        raise SagaError(f"{full_name}: {service if service in TAKEN_SERVICES else name} is taken")
    if snake_case(words.command) != name:
        raise SagaError(
            f"{full_name}: its command would be {words.command}, and the step then "
            f"{snake_case(words.command)}: name it {snake_case(words.command)}, or otherwise"
        )
    return words


def _layout(folder: Path, service: str) -> Layout:
    """Find out whether this is this repository, or a project with its services side by side."""
    in_repository = (folder / "functions" / "__init__.py").exists()
    stack, package = _stack_of(folder, service)
    package = package or (f"saga.functions.{service}" if in_repository else service)
    code = folder.joinpath(
        *(package.removeprefix("saga.") if in_repository else package).split(".")
    )
    if not in_repository and not code.exists():
        _refuse_to_hide(package.partition(".")[0])
    tests = folder / "tests" / "unit" / "functions" if in_repository else folder / "tests"
    return Layout(folder, package, code, tests, stack, in_repository)


def _stack_of(folder: Path, service: str) -> tuple[Path, str | None]:
    """Return the service's stack file, and its package if there is a file already."""
    for path in sorted((folder / "stacks").glob("[!.]*.toml")):
        read = _toml(path, path.read_text("utf-8-sig"))
        if read.get("service") == service:
            return path, read.get("package")
    path = folder / "stacks" / f"{service}.toml"
    if path.exists():
        raise SagaError(f"{path} is there already, for another service: nothing was made")
    return path, None


def _refuse_to_hide(package: str) -> None:
    if package in sys.stdlib_module_names or importlib.util.find_spec(package) is not None:
        raise SagaError(f"{package}: a package of this name is installed, and would be hidden")


def _package_files(layout: Layout, service: str) -> Iterator[Change]:
    path = layout.code / "__init__.py"
    if path.exists():
        return
    yield Change(path, f'"""The {service} service: its messages and functions."""\n', is_new=True)
    project = layout.root / "pyproject.toml"
    if layout.in_repository and project.exists():
        yield _listed_package(project, layout.package)


def _listed_package(project: Path, package: str) -> Change:
    """Add a package to those that setuptools takes, in its place."""
    lines = project.read_text().splitlines(keepends=True)
    entry = re.compile(r'\s*"(saga\.functions[\w.]*)",\n')
    before = [n for n, line in enumerate(lines) if (m := entry.fullmatch(line)) and m[1] < package]
    if before and f'    "{package}",\n' not in lines:
        lines.insert(before[-1] + 1, f'    "{package}",\n')
    return Change(project, "".join(lines), is_new=False)


def _messages(layout: Layout, words: Words) -> Change:
    path = layout.code / "messages.py"
    if not path.exists():
        head = f'"""What the {words.service} service is asked, and what it answers."""\n\n'
        text = head + "from saga.runtime import Command, Event\n" + message_text(words)
        return Change(path, text, is_new=True)
    text = path.read_text()
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise SagaError(f"{path}:{error.lineno}: {error.msg}: nothing was made") from error
    taken = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    if both := sorted(taken & {words.command, words.event}):
        raise SagaError(f"{path} has a class {both[0]} already: nothing was made")
    strings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    if words.topic in strings:
        raise SagaError(f"{path} has the topic {words.topic} already: nothing was made")
    text = _with_import(text, tree)
    return Change(path, text.rstrip("\n") + "\n" + message_text(words), is_new=False)


def _with_import(text: str, tree: ast.Module) -> str:
    """Make sure that a module imports `Command` and `Event` from the runtime."""
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    bound = {alias.asname or alias.name for node in imports for alias in node.names}
    missing = {"Command", "Event"} - bound
    if not missing:
        return text
    lines = text.splitlines(keepends=True)
    for node in imports:
        plain = all(alias.asname is None for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module == "saga.runtime" and plain:
            names = missing | {alias.name for alias in node.names}
            lines[node.lineno - 1 : node.end_lineno] = [import_line("saga.runtime", *names)]
            return "".join(lines)
    first = tree.body[0] if tree.body else None
    docstring = first if isinstance(first, ast.Expr) else None
    last = imports[-1] if imports else docstring
    end = (last.end_lineno or 0) if last else 0
    lines.insert(end, ("" if imports or not last else "\n") + import_line("saga.runtime", *missing))
    return "".join(lines)


def _stack(layout: Layout, words: Words) -> Iterator[Change]:
    path = layout.stack
    entry = f"\n[functions.{words.name}]\nreplicas = 1\n"
    if not path.exists():
        head = [("service", words.service), ("package", layout.package)]
        pairs = [*head, ("database", words.service)]
        text = "".join(f'{key} = "{value}"\n' for key, value in pairs)
        yield Change(path, text + entry, is_new=True)
        return
    text = path.read_text("utf-8-sig")
    if words.name not in _toml(path, text).get("functions", {}):
        extended = text.rstrip("\n") + "\n" + entry
        _toml(path, extended)
        yield Change(path, extended, is_new=False)


def _toml(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SagaError(f"{path}: {error}: nothing was made") from error
