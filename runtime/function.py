"""The `function` decorator: a handler's annotations are its contract."""

import importlib
import inspect
import sys
import typing
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from .clock import check_seconds
from .errors import ContractError
from .message import Command, Event

if TYPE_CHECKING:
    from .database.schema import Table

TIMEOUT = 30.0  # seconds that a handler may take for one message
LONGEST_TIMEOUT = 3600.0  # seconds

Kind = Literal["command", "timer"]
Handler = TypeVar("Handler", bound=Callable[..., Any])

_registry: dict[str, "Function"] = {}


@dataclass(frozen=True, slots=True)
class Function:
    """A handler and what its declaration says.

    A function of kind `command` answers one command with an event; `timer` runs every `every`
    seconds. Where the handler takes longer than `timeout` seconds, its process is ended. `name` is
    `SERVICE.HANDLER`, and is its consumer group too. One that acts `outside` has effects that are
    not in its transaction; where `keyed`, its handler is given the command's id as `key`.
    """

    name: str
    handler: Callable[..., Any]
    kind: Kind
    topics: tuple[str, ...]
    command: type[Command] | None = None
    every: float | None = None
    timeout: float = TIMEOUT
    outside: bool = False
    keyed: bool = False

    @property
    def service(self) -> str:
        """The service that the function belongs to: the folder it is in."""
        return self.name.partition(".")[0]

    def tables(self) -> "list[type[Table]]":
        """List the tables that the handler and the runtime use on its behalf."""
        from .database.schema import tables_in
        from .inbox import InboxRow
        from .outbox import TABLES

        own = TABLES if self.kind == "timer" else [InboxRow]
        return [*own, *tables_in(_store(self.handler))]


@overload
def function(handler: Handler, /) -> Handler: ...


@overload
def function(
    *, every: float | None = None, timeout: float = TIMEOUT, outside: bool = False
) -> Callable[[Handler], Handler]: ...


def function(
    handler: Handler | None = None,
    /,
    *,
    every: float | None = None,
    timeout: float = TIMEOUT,
    outside: bool = False,
) -> Handler | Callable[[Handler], Handler]:
    """Declare a handler as a function of its service; the handler itself stays as it is.

    Plain `@function` is for `(command: C) -> E`, where `E` is the event that `C` declares.
    `@function(every=SECONDS)` is for `(now) -> commands`, on a timer, of which there is one in the
    system, however many replicas it has.
    A handler that takes longer than `timeout` seconds, or half a one more, ends its process, with
    a traceback in the log, and is tried again in another; the third time, its message is set aside.
    `@function(outside=True)` is for a handler with effects that no rollback takes back, such as a
    call of a payment provider: once it has begun, its undo runs, unless it was `Rejected`. It may
    be `(command: C, key: str) -> E`: the key is the command's id, the same at each attempt.
    Raises `ContractError` when the annotations say something else, or SECONDS is no time to wait.
    """
    declare = partial(_declare, every=every, timeout=timeout, outside=outside)
    return declare if handler is None else declare(handler)


def load(module: str) -> Function:
    """Import a module and return the function declared in it; raise `ContractError` if none is."""
    imported = import_declaring(module)
    found = [f for f in _registry.values() if f.handler.__module__ == imported.__name__]
    if len(found) != 1:
        raise ContractError(f"{module} declares {len(found)} functions; one file holds one")
    return found[0]


def import_declaring(module: str) -> ModuleType:
    """Import a module that declares something; raise `ContractError` if that fails."""
    try:
        return importlib.import_module(module)
    except ContractError:
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise ContractError(f"{module} can't be imported: {what}") from error


def declared(handler: Callable[..., Any]) -> Function:
    """Return what `@function` says of a handler; raise `ContractError` where it says nothing."""
    for function in _registry.values():
        if function.handler is handler:
            return function
    raise ContractError(f"{handler!r} is not a function: it lacks the decorator")


def _declare(handler: Handler, *, every: float | None, timeout: float, outside: bool) -> Handler:
    service = handler.__module__.rpartition(".")[0].rpartition(".")[2]
    name = f"{service}.{handler.__name__}"
    earlier = _registry.get(name)
    if earlier is not None and earlier.handler.__module__ != handler.__module__:
        raise ContractError(f"two functions are called {name}: they would share a consumer group")
    if not 0 < timeout <= LONGEST_TIMEOUT:
        raise ContractError(f"{name}: timeout={timeout} is not between 0 and {LONGEST_TIMEOUT:g} s")
    if every is None:
        command, keyed = _contract(handler)
        if keyed and not outside:
            raise ContractError(f"{name} takes a key to use outside: @function(outside=True)")
        declared = Function(name, handler, "command", (command.topic,), command, timeout=timeout)
        declared = replace(declared, outside=outside, keyed=keyed)
    else:
        check_seconds(f"{name}: every", every)
        if outside:
            raise ContractError(f"{name}: outside=True is for what can be undone, not for a timer")
        declared = Function(name, handler, "timer", (), every=every, timeout=timeout)
    _registry[name] = declared
    return handler


def _contract(handler: Callable[..., Any]) -> tuple[type[Command], bool]:
    """Read the command class off the annotations, and check the event class against it.

    Returns also whether the handler takes a key.
    """
    where = f"{handler.__module__}.{handler.__name__}"
    if inspect.iscoroutinefunction(handler):
        raise ContractError(f"{where} is async: a handler is an ordinary function")
    parameters = list(inspect.signature(handler).parameters.values())
    hints = typing.get_type_hints(handler)
    keyed = [p.name for p in parameters[1:]] == ["key"] and hints.get("key") is str
    command = hints.get(parameters[0].name) if len(parameters) == 1 or keyed else None
    if not (isinstance(command, type) and issubclass(command, Command)):
        raise ContractError(f"{where} must take one command: def {handler.__name__}(command: C)")
    event = hints.get("return")
    if not (isinstance(event, type) and issubclass(event, Event)) or event is not command.event:
        raise ContractError(
            f"{where} must return {command.event.__name__}, which {command.__name__} declares"
        )
    return command, keyed


def _store(handler: Callable[..., Any]) -> ModuleType:
    package = handler.__module__.rpartition(".")[0]
    try:
        return importlib.import_module(f"{package}.store")
    except ModuleNotFoundError:
        # A service without tables of its own still has an inbox.
        return sys.modules[handler.__module__]
