"""Where a command takes its fields from: the start message, or what one step has told.

It is decided by names, where the saga is declared, and so does not depend on who answers when.
"""

from collections.abc import Iterable, Mapping
from types import NoneType
from typing import Any, Protocol, get_args

from pydantic.fields import FieldInfo

from .envelope import Action
from .errors import ContractError
from .message import Command, Event, Message
from .saga_state import SagaState

# A saga's own ids, beside the start message's fields.
BUILT_IN_FIELDS = frozenset({"saga_id"})
START = ""  # the start message, among the names of steps
Named = Mapping[str, str]  # a field's source


class Asking(Protocol):
    """What has to be known of a step."""

    @property
    def name(self) -> str: ...  # noqa: D102 - as the step has it
    @property
    def command(self) -> type[Command]: ...  # noqa: D102
    @property
    def undo(self) -> type[Command] | None: ...  # noqa: D102
    @property
    def takes(self) -> Mapping[str, type[Command]]: ...  # noqa: D102


class Sources:
    """The sources of all commands of a saga.

    Raises `ContractError` as `find_sources` does, and where a step takes what it has no field for.
    """

    def __init__(self, start: type[Message], steps: Iterable[Asking]) -> None:
        if clash := BUILT_IN_FIELDS & start.model_fields.keys():
            raise ContractError(f"{start.__name__} can't have a field {min(clash)}")
        given = BUILT_IN_FIELDS | start.model_fields.keys()
        self._found: dict[tuple[str, Action], tuple[type[Command], Named]] = {}
        self._repeated: dict[str, set[str]] = {}
        tellers: dict[str, type[Event]] = {}
        for step in steps:
            _check_takes(step)
            takes = {name: source.step_name() for name, source in step.takes.items()}
            before = {name: source for name, source in takes.items() if source != step.name}
            do = find_sources(step.command, given, tellers, before)
            self._found[step.name, "do"] = step.command, do
            tellers[step.name] = step.command.event
            if step.undo is not None:
                undo = find_sources(step.undo, given, tellers, takes, unsure=step.name)
                self._found[step.name, "undo"] = step.undo, undo
            self._repeated[step.name] = set(given)
            for name, source in takes.items():
                self._repeated[source].discard(name)

    def values(self, state: SagaState, step: str, action: Action) -> dict[str, Any]:
        """Return what a saga knows of the fields that a step's command has."""
        command, sources = self._found[step, action]
        told = {step.name: step.told for step in state.steps}
        return known_values(command, sources, state.given, told, state.events)

    def kept(self, step: str, told: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a step has told beyond what all commands take from the start message."""
        repeated = self._repeated[step]
        return {name: value for name, value in told.items() if name not in repeated}


def find_sources(
    command: type[Command],
    given: frozenset[str],
    tellers: Mapping[str, type[Event]],
    takes: Named,
    unsure: str | None = None,
) -> Named:
    """Return for each field of a command which step tells it, or that it is known from the start.

    What is `given` stays so whatever events repeat; `tellers` are the events of the steps that may
    have answered. A name that several of them tell is for `takes` to decide. `unsure` is the step
    whose answer may be missing. Raises `ContractError` where a field has two sources, or none and
    no default, or only the unsure one and can't be None.
    """
    sources: dict[str, str] = {}
    missing = []
    for name, info in command.model_fields.items():
        match _candidates(command, name, given, tellers, takes):
            case []:
                if info.is_required():
                    missing.append(name)
            case [source]:
                if source == unsure and info.is_required() and not _may_be_none(info):
                    raise ContractError(
                        f"{command.__name__} needs {name}, which {source} may not have told yet: "
                        "let it be None, too"
                    )
                sources[name] = source
            case several:
                raise ContractError(
                    f"{command.__name__} finds {name} in the answers of {' and '.join(several)}: "
                    f'say in which, as in Step(…, takes={{"{name}": THE_COMMAND}})'
                )
    if missing:
        raise ContractError(
            f"{command.__name__} needs {', '.join(sorted(missing))}, "
            "which neither the start message nor an earlier event provides"
        )
    return sources


def known_values(
    command: type[Command],
    sources: Named,
    given: Mapping[str, Any],
    told: Mapping[str, Mapping[str, Any]],
    older: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what is known for a command's fields, by their names.

    `told` has the values of each step, `older` what steps have told to a saga of an earlier
    version, which did not note which one.
    """
    known = {}
    for name, source in sources.items():
        values = given if source == START else told.get(source, older)
        if name in values:
            known[name] = values[name]
        elif name in older:
            known[name] = older[name]
        elif command.model_fields[name].is_required() and _may_be_none(command.model_fields[name]):
            known[name] = None
    return known


def _check_takes(step: Asking) -> None:
    for name, source in step.takes.items():
        takers = [step.undo] if source is step.command else [step.command, step.undo]
        if not any(taker and name in taker.model_fields for taker in takers):
            raise ContractError(f"step {step.name} takes no {name} from {source.__name__}")


def _candidates(
    command: type[Command],
    name: str,
    given: frozenset[str],
    tellers: Mapping[str, type[Event]],
    takes: Named,
) -> list[str]:
    telling = [step for step, event in tellers.items() if name in event.model_fields]
    if name not in takes:
        return [START] if name in given else telling
    if takes[name] not in telling:
        raise ContractError(
            f"{command.__name__} takes {name} from {takes[name]}, no step before it that tells it"
        )
    return [takes[name]]


def _may_be_none(info: FieldInfo) -> bool:
    return NoneType in get_args(info.annotation)
