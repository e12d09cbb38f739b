"""The facts that `saga check` judges: read off the stack files, the modules and their source."""

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ContractError, StackError, first_line
from ..function import Function
from ..message import Message
from ..saga import Saga
from ..saga_host import HostedSaga
from ..system.code import module_file, package_folder
from ..system.stack import Stack, read_stack, read_stacks
from .facts import Deployed, Facts, Finding, Place, PlacedSaga
from .modules import (
    argument,
    calls,
    handlers_in,
    last_name,
    place_of,
    sagas_in,
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
        survey.sagas,
        {cls: _class_place(cls) for cls in survey.messages()},
        survey.findings,
        frozenset(survey.broken),
        survey.sagas_known,
    )


@dataclass
class _Survey:
    """What has been found so far."""

    functions: list[Deployed] = field(default_factory=list)
    sagas: list[PlacedSaga] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    sagas_known: bool = True

    def read(self, folder: Path) -> list[tuple[Path, Stack]]:
        """Read the stack files one by one, then all together for what two of them claim."""
        stacks = []
        for path in sorted(folder.glob("[!.]*.toml")):
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
        """Import a stack's functions and sagas."""
        if stack.adapter is not None and module_file(stack.adapter) is None:
            why = f"{stack.service} has no adapter: there is no module {stack.adapter}"
            self.findings.append(toml_place(path, "adapter").error(why))
        if package_folder(stack.package) is None:
            why = f"there is no package {stack.package}: is its folder on PYTHONPATH?"
            self.findings.append(toml_place(path, "package").error(why))
            self._lose(stack, *stack.entries)
            return
        for name in stack.entries:
            self._visit_entry(stack, name, toml_place(path, f"{stack.kind(name)}s.{name}"))

    def _visit_entry(self, stack: Stack, name: str, entry: Place) -> None:
        file = module_file(stack.module(name))
        if file is None:
            self._lose(stack, name)
            why = f"{name} has no {stack.kind(name)}: there is no module {stack.module(name)}"
            self.findings.append(entry.error(why))
            return
        try:
            hosted = stack.import_entry(name)
        except (Exception, SystemExit) as error:
            self._lose(stack, name)
            self._failed(error, file, entry)
            return
        if isinstance(hosted, HostedSaga):
            self.sagas.append(_placed(hosted, stack, entry, file))
        else:
            place = _handler_place(hosted, Place(file))
            deployed = Deployed(hosted, stack.service, stack.database, name, entry, place)
            self.functions.append(deployed)

    def messages(self) -> set[type[Message]]:
        """Return the classes of all messages that travel, and of those that sagas start from."""
        commands = [one.function.command for one in self.functions]
        steps = [step for placed in self.sagas for step in placed.saga.steps]
        commands += [command for step in steps for command in (step.command, step.undo)]
        sent = {command for command in commands if command is not None}
        return {*sent, *(c.event for c in sent), *(placed.saga.start for placed in self.sagas)}

    def _lose(self, stack: Stack, *names: str) -> None:
        """Note that these could not be had: what they would have said is not known."""
        self.broken |= set(names)
        self.sagas_known &= stack.sagas.keys().isdisjoint(names)

    def _failed(self, error: BaseException, file: Path, entry: Place) -> None:
        """Note why a function could not be had, at the line that is to be changed."""
        handlers = handlers_in(file)
        cause = error.__cause__ or error
        place = place_of(cause, file.parent.parent)
        if place is None and len(handlers) > 1:
            place = handlers[-1].place
        text = str(error) if isinstance(cause, ContractError) else first_line(cause)
        self.findings.append((place or entry).error(text))


def _without_entry(stacks: Sequence[tuple[Path, Stack]]) -> Iterator[Finding]:
    listed = {stack.module(name) for _, stack in stacks for name in stack.entries}
    for path, stack in stacks:
        folder = package_folder(stack.package)
        for file in sorted(folder.glob("[!.]*.py")) if folder else ():
            if stack.module(file.stem) in listed:
                continue
            sagas = [saga for saga in sagas_in(file) if saga.name == file.stem]
            for kind, found in (("functions", handlers_in(file)), ("sagas", sagas)):
                for declared in found[:1]:
                    yield declared.place.error(
                        f"{declared.name} has no stack entry: {path.name} lacks "
                        f"[{kind}.{file.stem}]"
                    )


def _placed(hosted: HostedSaga, stack: Stack, entry: Place, file: Path) -> PlacedSaga:
    """Find a saga and its steps in the source; what is not written out there is at its file."""
    saga = hosted.saga
    for source in _files_with(saga):
        for call in calls(tree(source), "Saga"):
            name = argument(call, "name", 0)
            if isinstance(name, ast.Constant) and name.value == saga.name:
                place, steps = Place(source, call.lineno), _step_places(saga, call, source)
                return PlacedSaga(hosted, stack.service, entry, place, steps)
    return PlacedSaga(hosted, stack.service, entry, Place(file))


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


def _class_place(cls: type[Message]) -> Place:
    file = Path(getattr(sys.modules.get(cls.__module__), "__file__", None) or cls.__module__)
    classes = (node for node in ast.walk(tree(file)) if isinstance(node, ast.ClassDef))
    return next((Place(file, c.lineno) for c in classes if c.name == cls.__name__), Place(file))


def _handler_place(function: Function, file: Place) -> Place:
    code = getattr(function.handler, "__code__", None)
    return Place(Path(code.co_filename), code.co_firstlineno) if code else file


def _names_in(path: Path) -> set[str]:
    """Return the functions and sagas that a stack file names, as far as it can be read at all."""
    try:
        return set(
            re.findall(r"(?m)^\s*\[\s*(?:functions|sagas)\.(\w+)", path.read_text("utf-8-sig"))
        )
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
