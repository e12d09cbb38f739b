"""Where a system runs, by the setting's name."""

from saga.runtime.deploy.processes import Processes
from saga.runtime.deploy.target import Target
from saga.runtime.settings import Settings


def open_target(settings: Settings) -> Target:
    """Return the target of the settings; raise a `SagaError` when nothing answers there."""
    if settings.saga_target == "process":
        return Processes(settings)
    # Imported late: the engine's client takes a while, and processes don't need it.
    from saga.runtime.deploy.containers import Containers

    return Containers(settings)
