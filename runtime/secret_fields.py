"""Fields that nobody is shown: those declared with `Field(repr=False)`, as pydantic's `repr` hides.

They travel, and are stored, as all others. What shows a message, or writes of it into a log, asks
here first. A saga's values wander by their names from one class to another, so a field is secret in
all of a saga where one of its classes says so.
"""

import dataclasses
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from functools import cache, partial
from typing import Any, get_args, get_type_hints

from pydantic import AliasChoices, BaseModel, RootModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import (
    InitErrorDetails,
    PydanticCustomError,
    from_json,
    to_json,
)
from typing_extensions import is_typeddict

from .saga import Saga
from .saga_state import SagaState, altered

HIDDEN = "***"
REFUSED = "is not acceptable"  # said of a secret field, whatever its own check says
SHORTEST = 3  # characters of a secret that is looked for in a text

Kinds = tuple[Any, ...]  # classes: pydantic's models, dataclasses, typed dictionaries


def classes_of(saga: Saga) -> Kinds:
    """Return the classes of all messages of a saga."""
    commands = [each for step in saga.steps for each in (step.command, step.undo) if each]
    return saga.start, *commands, *(command.event for command in commands)


def classes_on(topic: str, sagas: Iterable[Saga]) -> Kinds:
    """Return the classes of the sagas that have to do with a topic."""
    found = map(classes_of, sagas)
    return tuple({kind for kinds in found if topic in map(_topic, kinds) for kind in kinds})


def without_secrets(state: SagaState, saga: Saga | None) -> SagaState:
    """Return a saga to be shown; without its declaration, nobody knows what of it is secret."""
    hide = hidden_whole if saga is None else partial(hidden, classes_of(saga))
    steps = tuple(
        altered(
            step,
            told=hide(step.told),
            body=step.body and to_json(hide(from_json(step.body))).decode(),
        )
        for step in state.steps
    )
    return altered(state, input=hide(state.input), events=hide(state.events), steps=steps)


def hidden(kinds: Kinds, value: Any) -> Any:
    """Return a value, as JSON has it, without what these classes declare secret, however deep."""
    hiding = _hiding(kinds)
    return _hidden(hiding, value) if hiding else value


def hidden_whole(value: Any) -> Any:
    """Return the outline of a value of which nobody knows what is secret."""
    if isinstance(value, dict):
        return {name: hidden_whole(each) for name, each in value.items()}
    if isinstance(value, list):
        return [hidden_whole(each) for each in value]
    return value if value is None else HIDDEN


def hidden_text(kinds: Kinds, text: str) -> str:
    """Return a body without what is secret; one that is no JSON is hidden, if it may hold any."""
    if not _hiding(kinds):
        return text
    try:
        value = from_json(text)
    except ValueError:
        return HIDDEN
    return to_json(hidden(kinds, value)).decode()


def scrubbed(kinds: Kinds, body: str | bytes, *texts: str) -> Iterator[str]:
    """Return texts, such as an error's, without the secrets that are in a message's body."""
    secrets = _secrets(kinds, body)
    for text in texts:
        for secret in secrets:
            text = text.replace(secret, HIDDEN)
        yield text


def quiet(error: ValidationError, kinds: Kinds, body: str | bytes) -> ValidationError:
    """Return an error about a message's body that says the same, and quotes no secret."""
    if not _hiding(kinds):
        return error
    lines = []
    for found in error.errors():
        is_open = not _leads_to_secret(kinds, found["loc"])
        raised = found.get("ctx", {}).get("error")
        text = str(raised) if isinstance(raised, Exception) else found["msg"]
        said = next(scrubbed(kinds, body, text)) if is_open else REFUSED
        line = InitErrorDetails(
            type=PydanticCustomError(found["type"], said), loc=found["loc"], input=HIDDEN
        )
        if is_open and isinstance(raised, Exception):  # stays one: clients are not told its words
            line["type"], line["ctx"] = "value_error", {"error": ValueError(said)}
        lines.append(line)
    return ValidationError.from_exception_data(error.title, lines, hide_input=True)


def is_secret(info: FieldInfo) -> bool:
    """Tell whether a field is declared so."""
    return not info.repr


@cache
def hides(kind: Any) -> bool:
    """Tell whether a class has a secret field, however deep."""
    seen, left = set(), [kind]
    while left:
        each = left.pop()
        if each not in seen:
            seen.add(each)
            for _, info in _fields(each):
                if is_secret(info):
                    return True
                left += kinds_in(info.annotation)
    return False


def kinds_in(annotation: Any) -> Kinds:
    """Return the classes with fields that a value of this type is made of."""
    found: dict[Any, None] = {}
    left = [annotation]
    while left:
        each = left.pop()
        if each not in found and _has_fields(each):
            found[each] = None
            # A root model is written as what is in it.
            left += [info.annotation for names, info in _fields(each) if not names]
        else:
            left += get_args(each)
    return tuple(found)


def _topic(kind: Any) -> Any:
    return getattr(kind, "topic", None)


@cache
def _hiding(kinds: Kinds) -> Kinds:
    return tuple(kind for kind in kinds if hides(kind))


def _hidden(kinds: Kinds, value: Any) -> Any:
    if _is_secret_root(kinds):
        return HIDDEN
    if isinstance(value, list):
        return [_hidden(kinds, each) for each in value]
    if isinstance(value, dict):
        return {name: _hidden_field(kinds, name, each) for name, each in value.items()}
    return value


def _hidden_field(kinds: Kinds, name: str, value: Any) -> Any:
    found = _named(kinds, name)
    if any(is_secret(info) for info in found):
        return value if value is None else HIDDEN
    return _hidden(_below(kinds, found), value)


def _secrets(kinds: Kinds, body: str | bytes) -> list[str]:
    """Return the texts of the secrets in a body, longest first."""
    kinds = _hiding(kinds)
    if not kinds:
        return []
    texts: set[str] = set()
    with suppress(ValueError):
        texts |= {str(each) for each in _found(kinds, from_json(body))}
    return sorted((text for text in texts if len(text) >= SHORTEST), key=len, reverse=True)


def _found(kinds: Kinds, value: Any, *, secret: bool = False) -> Iterator[Any]:
    secret = secret or _is_secret_root(kinds)
    if isinstance(value, list):
        for each in value:
            yield from _found(kinds, each, secret=secret)
    elif isinstance(value, dict):
        for name, each in value.items():
            found = _named(kinds, name)
            within = secret or any(is_secret(info) for info in found)
            yield from _found(_below(kinds, found), each, secret=within)
    elif secret and not isinstance(value, (bool, type(None))):
        yield value


def _leads_to_secret(kinds: Kinds, place: tuple[int | str, ...]) -> bool:
    kinds = _hiding(kinds)
    for part in place:
        found = _named(kinds, part)
        if any(is_secret(info) for info in found):
            return True
        kinds = _below(kinds, found)
    return _is_secret_root(kinds)


def _below(kinds: Kinds, found: Collection[FieldInfo]) -> Kinds:
    """Return the classes of what is in a field; of a key that is none, they stay the same."""
    if not found:
        return kinds
    return tuple({kind for info in found for kind in kinds_in(info.annotation)})


def _named(kinds: Kinds, name: int | str) -> list[FieldInfo]:
    return [info for kind in kinds for names, info in _fields(kind) if name in names]


def _is_secret_root(kinds: Kinds) -> bool:
    roots = (kind.model_fields["root"] for kind in kinds if issubclass(kind, RootModel))
    return any(map(is_secret, roots))


@cache
def _fields(kind: Any) -> tuple[tuple[frozenset[str], FieldInfo], ...]:
    """Return a class's fields, each with all its names."""
    if hasattr(kind, "__pydantic_fields__"):  # a model, or a dataclass of pydantic's
        fields = kind.__pydantic_fields__
    else:
        hints = get_type_hints(kind, include_extras=True)
        fields = {name: FieldInfo.from_annotation(hint) for name, hint in hints.items()}
        for each in dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ():
            fields[each.name].repr = each.repr and fields[each.name].repr
    if issubclass(kind, RootModel):
        return tuple((names, info) for info in fields.values() for names in [frozenset[str]()])
    return tuple((frozenset(_names(name, info)), info) for name, info in fields.items())


def _names(name: str, info: FieldInfo) -> Iterator[str]:
    yield name
    yield from filter(None, [info.serialization_alias])
    aliases = info.validation_alias  # as an alias of both is, too
    for alias in aliases.choices if isinstance(aliases, AliasChoices) else [aliases]:
        if isinstance(alias, str):
            yield alias


def _has_fields(kind: Any) -> bool:
    return isinstance(kind, type) and (
        issubclass(kind, BaseModel) or dataclasses.is_dataclass(kind) or is_typeddict(kind)
    )
