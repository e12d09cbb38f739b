"""A saga whose commands can't always be made, as a validator of theirs raises an error."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

from pydantic import model_validator

from ..message import Command
from ..saga import Saga, Step


def with_unmade_commands(saga: Saga, strikes: Callable[[], bool]) -> Saga:
    """Return the same saga with a validator in each of its commands that raises when it strikes."""

    @cache  # a step may take from another one's command, by its class
    def odd(command: type[Command]) -> type[Command]:
        def check(_: type[Command], values: Any) -> Any:
            if strikes():
                raise KeyError("simulated")
            return values

        name = command.__name__
        validator = model_validator(mode="before")(classmethod(check))  # type: ignore[arg-type]
        more = {"__module__": __name__, "check": validator}
        return type(name, (command,), more)  # as its name is its step's

    def step(declared: Step) -> Step:
        undo = odd(declared.undo) if declared.undo else None
        takes = {field: odd(source) for field, source in declared.takes.items()}
        return replace(declared, command=odd(declared.command), undo=undo, takes=takes)

    return replace(saga, steps=[step(declared) for declared in saga.steps])
