"""Messages as users declare them: commands, the events that answer them, start messages."""

import re
from functools import cache
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError

from .errors import ContractError, first_line
from .topic import check_topic


class Message(BaseModel, hide_input_in_errors=True):
    """Base of commands and events: immutable, and deaf to fields it does not know.

    A newer sender may therefore add fields without breaking an older reader. A field that has an
    alias travels under it; the class can be called with the field's own name all the same.
    """

    model_config = ConfigDict(
        frozen=True, extra="ignore", validate_by_name=True, ser_json_inf_nan="strings"
    )


# What a class itself has under these names would be gone.
RESERVED = frozenset({"topic", "event", "step_name"})


class _Sent(Message):
    """A message with a topic of its own.

    A class raises `ContractError` where it has no topic, or none that Kafka takes, or a field of a
    reserved name.
    """

    topic: ClassVar[str]

    def __init_subclass__(cls, topic: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if topic is not None:
            cls.topic = topic
        elif cls.__module__ != __name__ and not hasattr(cls, "topic"):
            raise ContractError(f'{cls.__name__} needs a topic: class {cls.__name__}(…, topic="…")')
        if hasattr(cls, "topic"):
            check_topic(cls.__name__, cls.topic)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if taken := sorted(RESERVED & cls.model_fields.keys()):
            raise ContractError(f"{cls.__name__} can't have a field {taken[0]}: call it otherwise")


class Event(_Sent):
    """Tells that a function has done something; named in the past tense: `ProductReserved`."""


class Command(_Sent):
    """Asks one function to do something; named in the imperative: `ReserveProduct`.

    `class ReserveProduct(Command, topic="product.reserve", event=ProductReserved)`: it travels on
    `topic`, and is answered by `event` on the event's topic.
    """

    event: ClassVar[type[Event]]

    def __init_subclass__(cls, event: type[Event] | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if event is not None:
            cls.event = event
        elif not hasattr(cls, "event"):
            raise ContractError(
                f"{cls.__name__} needs its answer: class {cls.__name__}(…, event=…)"
            )

    @classmethod
    def step_name(cls) -> str:
        """Return the name of the step, and of the function, that this command asks for."""
        return snake_case(cls.__name__)


@cache  # each command of a saga asks for it
def snake_case(name: str) -> str:
    """Write a class's name as a function's: `ReserveProduct` as `reserve_product`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def reasons(error: ValidationError, root: str = "body") -> list[str]:
    """List all that pydantic has found, as `FIELD: MESSAGE`; `root` is what is in no field."""
    return [f"{'.'.join(map(str, e['loc'])) or root}: {e['msg']}" for e in error.errors()]


def why(error: Exception) -> str:
    """Say in one line why a message could not be made, or be read."""
    return reasons(error)[0] if isinstance(error, ValidationError) else first_line(error)
