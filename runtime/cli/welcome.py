"""What a started system is good for: where its pages are, and what to try."""

from ..address import web_address
from ..settings import ORDERS, Settings
from ..system.stack import read_stacks


def welcome(settings: Settings) -> str:
    """Say where the API's docs and the consoles are, and of the built-in orders what to try.

    Nothing of what has neither.
    """
    told = [f"The console is at {where}" for where in consoles(settings)]
    if any(stack.adapter for stack in read_stacks(settings.saga_stacks)):
        told.insert(0, "Each adapter's API is described at /docs.")
    if settings.saga_stacks == ORDERS:
        told.append("Try: saga demo")
    return "\n".join(told)


def consoles(settings: Settings) -> list[str]:
    """Return where the consoles of a system of processes are: of each adapter beside a saga."""
    hosting = [s for s in read_stacks(settings.saga_stacks) if s.sagas and s.adapter]
    wanted = hosting if settings.saga_console != "off" else []
    return [f"{web_address(settings.saga_host, stack.port)}/console" for stack in wanted]
