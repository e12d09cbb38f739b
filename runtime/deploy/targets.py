"""Where a system runs, by the setting's name."""

from ..settings import Settings
from .processes import Processes
from .target import Target


def open_target(settings: Settings) -> Target:
    """Return the target of the settings; raise a `SagaError` when nothing answers there."""
    if settings.saga_target == "process":
        return Processes(settings)
    # Imported late: the engine's client takes a while, and processes don't need it.
    from .containers import Containers

    return Containers(settings)
