"""A message as JSON: the body that travels, and the values that a saga's row holds of it.

The wire has the aliases that a class declares. A row has a field's own name: what one class has
told is what another asks for.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import from_json, to_json

from .errors import Tame, Undecodable
from .secret_fields import quiet

M = TypeVar("M", bound=BaseModel)
# Validators and serializers are a user's.
_tame = Tame("a message's class", Undecodable)


def write(message: BaseModel) -> str:
    """Return the body that carries a message. What is computed of its fields stays behind."""
    with _tame:
        return _json(message, by_alias=True).decode()


def read(cls: type[M], body: str) -> M:
    """Read what `write` has written; raise `pydantic.ValidationError` where it is something else.

    A field may have its own name, too, as `saga invoke` and programs of others may write it.
    """
    with _tame:
        return _read(cls, body, by_alias=True)


def values(message: BaseModel) -> dict[str, Any]:
    """Return a message's fields by their names, each as JSON has it.

    Raises `RecursionError` for what is nested so deep that a saga's row couldn't be read again.
    """
    with _tame:
        text = _json(message, by_alias=False)
    fields: dict[str, Any]
    try:
        # As far down as a row has what a step has told: pydantic reads JSON of 200 levels.
        [[[fields]]] = from_json(b"[[[%b]]]" % text)
    except ValueError as error:
        raise RecursionError(f"can't be kept: {error}") from None
    return fields


def under_aliases(cls: type[BaseModel], known: Mapping[str, Any]) -> dict[str, Any]:
    """Return values that came of `values` as the body has them.

    Where the class can't be made of them any more, the aliases of its own fields are all.
    """
    with suppress(Exception):  # whatever a validator may raise
        made = made_of(cls, known)
        if values(made) == known:
            return dict(from_json(write(made)))
    aliases = {name: alias(info, name) for name, info in cls.model_fields.items()}
    return {aliases.get(name, name): value for name, value in known.items()}


def alias(info: FieldInfo, name: str) -> str:
    """Return what a field is called in a body."""
    return info.serialization_alias or name


def made_of(cls: type[M], known: Mapping[str, Any]) -> M:
    """Make a message of values that came of `values`; raise `pydantic.ValidationError`."""
    with _tame:
        return _read(cls, to_json(known), by_alias=False)


# As `model_dump_json` and `model_validate_json`, whose own part takes longer than pydantic's core.
def _json(message: BaseModel, *, by_alias: bool) -> bytes:
    return message.__pydantic_serializer__.to_json(message, by_alias=by_alias, round_trip=True)


def _read(cls: type[M], body: str | bytes, *, by_alias: bool) -> M:
    try:
        read: M = cls.__pydantic_validator__.validate_json(body, by_alias=by_alias, by_name=True)
    except ValidationError as error:
        raise quiet(error, (cls,), body) from None
    return read
