"""A message as JSON: the body that travels, and the values that a saga's row holds of it.

The wire has the aliases that a class declares. A row has a field's own name: what one class has
told is what another asks for.
"""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from pydantic import BaseModel
from pydantic_core import from_json, to_json

from .errors import Undecodable, first_line

M = TypeVar("M", bound=BaseModel)
P = ParamSpec("P")
T = TypeVar("T")


def _tame(function: Callable[P, T]) -> Callable[P, T]:
    """Let a validator or serializer of a user's end no process, as `sys.exit` would."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as ending:
            raise Undecodable(f"a message's class raised {first_line(ending)}") from ending

    return call


@_tame
def write(message: BaseModel) -> str:
    """Return the body that carries a message. What is computed of its fields stays behind."""
    return message.model_dump_json(by_alias=True, round_trip=True)


@_tame
def read(cls: type[M], body: str) -> M:
    """Read what `write` has written; raise `pydantic.ValidationError` where it is something else.

    A field may have its own name, too, as `saga invoke` and programs of others may write it.
    """
    return cls.model_validate_json(body, by_alias=True, by_name=True)


@_tame
def values(message: BaseModel) -> dict[str, Any]:
    """Return a message's fields by their names, each as JSON has it."""
    fields: dict[str, Any] = from_json(message.model_dump_json(by_alias=False, round_trip=True))
    return fields


@_tame
def made_of(cls: type[M], known: Mapping[str, Any]) -> M:
    """Make a message of values that came of `values`; raise `pydantic.ValidationError`."""
    return cls.model_validate_json(to_json(known), by_alias=False, by_name=True)
