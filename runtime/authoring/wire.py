"""Whether messages of a class survive the wire: made-up ones are sent there and back."""

from collections.abc import Callable

from pydantic import BaseModel, ValidationError

from .. import body
from ..errors import first_line
from ..message import reasons
from .made_up import made_up

ROUNDS = 6  # each takes another one of what a field may be

# The wire has aliases, a saga's row has names.
WAYS: dict[str, Callable[[BaseModel], BaseModel]] = {
    "sent": lambda message: body.read(type(message), body.write(message)),
    "stored": lambda message: body.made_of(type(message), body.values(message)),
}


class Untried(Exception):
    """No values could be thought of that a class takes; the text is why."""


def wire_fault(cls: type[BaseModel]) -> str | None:
    """Say what of a class comes back different, or not at all; None where nothing does.

    Raises `Untried` where that can't be found out.
    """
    tried, why = False, ""
    try:
        schema = cls.model_json_schema()
    except Exception as error:
        raise Untried(_told(error)) from error
    for number in range(ROUNDS):
        try:
            message = body.read(cls, made_up(schema, number))
        except Exception as error:
            why = _told(error)
            continue
        tried = True
        for way, there_and_back in WAYS.items():
            try:
                fault = _difference(message, there_and_back(message))
            except Exception as error:
                return f"{way}, it can't be read again: {_told(error)}"
            if fault:
                return f"{way}, {fault}"
    if not tried:
        raise Untried(why)
    return None


def _difference(message: BaseModel, again: BaseModel) -> str | None:
    for name, value in vars(message).items():
        back = vars(again)[name]
        if back != value or type(back) is not type(value):
            return f"{name} = {value!r} comes back as {back!r}"
    return None


def _told(error: Exception) -> str:
    return reasons(error)[0] if isinstance(error, ValidationError) else first_line(error)
