"""The facts that `saga check` judges: read off the stack files, the modules and their source."""

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ContractError, StackError
from ..function import Function, load
from ..saga import Saga
from ..system.stack import Stack, read_stack, read_stacks
from .check import Deployed, Facts, Finding, Place, PlacedSaga
from .modules import (
    argument,
    calls,
    handlers_in,
    last_name,
    module_file,
    package_folder,
    place_of,
    toml_place,
    tree,
)


def collect(folder: Path) -> Facts:
    """Read all stack files of a folder, and import all functions that they name.

    What can't be read or imported is a finding among the facts.
    """
    survey = _Survey()
    stacks = survey.read(folder)
    for path, stack in stacks:
        survey.visit(path, stack)
    survey.findings += _without_entry(stacks)
    return Facts(
        survey.functions,
        _placed_sagas(survey.functions),
        survey.findings,
        frozenset(survey.broken),
        survey.sagas_known,
    )


@dataclass
class _Survey:
    """What has been found so far."""

    functions: list[Deployed] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    sagas_known: bool = True

    def read(self, folder: Path) -> list[tuple[Path, Stack]]:
        """Read the stack files one by one, then all together for what two of them claim."""
        stacks = []
        for path in sorted(folder.glob("*.toml")):
            try:
                stacks.append((path, read_stack(path)))
            except StackError as error:
                self.sagas_known = False
                self.broken |= _names_in(path)
                self.findings.append(_stack_finding(error, path))
        if self.sagas_known:
            try:
                read_stacks(folder)
            except StackError as error:
                self.findings.append(_stack_finding(error, folder))
        return stacks

    def visit(self, path: Path, stack: Stack) -> None:
        """Import a stack's functions."""
        if stack.adapter is not None and module_file(stack.adapter) is None:
            why = f"{stack.service} has no adapter: there is no module {stack.adapter}"
            self.findings.append(toml_place(path, "adapter").error(why))
        if package_folder(stack.package) is None:
            why = f"there is no package {stack.package}: is its folder on PYTHONPATH?"
            self.findings.append(toml_place(path, "package").error(why))
            self.broken |= set(stack.functions)
            self.sagas_known = False
            return
        for name in stack.functions:
            self._visit_function(stack, name, toml_place(path, f"functions.{name}"))

    def _visit_function(self, stack: Stack, name: str, entry: Place) -> None:
        file = module_file(stack.module(name))
        if file is None:
            self.broken.add(name)
            why = f"{name} has no function: there is no module {stack.module(name)}"
            self.findings.append(entry.error(why))
            return
        try:
            function = load(stack.module(name))
        except (Exception, SystemExit) as error:
            self.broken.add(name)
            self._failed(error, file, entry)
            return
        place = _handler_place(function, Place(file))
        self.functions.append(Deployed(function, stack.service, stack.database, name, entry, place))

    def _failed(self, error: BaseException, file: Path, entry: Place) -> None:
        """Note why a function could not be had, at the line that is to be changed."""
        handlers = handlers_in(file)
        cause = error.__cause__ or error
        place = place_of(cause, file.parent.parent)
        if place is not None:
            self.sagas_known &= bool(handlers) and not any(h.saga for h in handlers)
        elif len(handlers) > 1:
            place = handlers[-1].place
        text = str(error) if isinstance(cause, ContractError) else _first_line(cause)
        self.findings.append((place or entry).error(text))


def _without_entry(stacks: Sequence[tuple[Path, Stack]]) -> Iterator[Finding]:
    listed = {stack.module(name) for _, stack in stacks for name in stack.functions}
    for path, stack in stacks:
        folder = package_folder(stack.package)
        for file in sorted(folder.glob("*.py")) if folder else ():
            if stack.module(file.stem) not in listed:
                for handler in handlers_in(file)[:1]:
                    yield handler.place.error(
                        f"{handler.name} has no stack entry: {path.name} lacks "
                        f"[functions.{file.stem}]"
                    )


def _placed_sagas(functions: Sequence[Deployed]) -> list[PlacedSaga]:
    found: dict[int, PlacedSaga] = {}
    for deployed in functions:
        saga = deployed.function.saga
        if saga is not None and id(saga) not in found:
            found[id(saga)] = _placed(saga, deployed.handler)
    return list(found.values())


def _placed(saga: Saga, handler: Place) -> PlacedSaga:
    """Find a saga and its steps in the source; what is not written out there is at the handler."""
    for file in _files_with(saga):
        for call in calls(tree(file), "Saga"):
            name = argument(call, "name", 0)
            if isinstance(name, ast.Constant) and name.value == saga.name:
                return PlacedSaga(saga, Place(file, call.lineno), _step_places(saga, call, file))
    return PlacedSaga(saga, handler)


def _step_places(saga: Saga, call: ast.Call, file: Path) -> dict[str, Place]:
    commands = {step.command.__name__: step.name for step in saga.steps}
    places = {}
    for step in calls(call, "Step"):
        command = argument(step, "command", 0)
        name = last_name(command) if command is not None else None
        if name in commands:
            places[commands[name]] = Place(file, step.lineno)
    return places


def _files_with(saga: Saga) -> Iterator[Path]:
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if file and any(value is saga for value in vars(module).values()):
            yield Path(file)


def _handler_place(function: Function, file: Place) -> Place:
    code = getattr(function.handler, "__code__", None)
    return Place(Path(code.co_filename), code.co_firstlineno) if code else file


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0]


def _names_in(path: Path) -> set[str]:
    """Return the functions that a stack file names, as far as it can be read at all."""
    try:
        return set(re.findall(r"(?m)^\s*\[\s*functions\.(\w+)", path.read_text()))
    except (OSError, UnicodeDecodeError):
        return set()


def _stack_finding(error: StackError, path: Path) -> Finding:
    """Place a stack error, whose text is `FILE: KEY: REASON`."""
    head, suffix, reason = str(error).partition(".toml: ")
    if not suffix:
        return Place(path).error(str(error).removeprefix(f"{path}: "))
    file = Path(head + ".toml")
    told = re.search(r"at line (\d+)", reason)
    key = reason.partition(": ")[0]
    return (Place(file, int(told.group(1))) if told else toml_place(file, key)).error(reason)
