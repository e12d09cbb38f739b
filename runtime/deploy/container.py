"""What a container may do and use: one description, which each target renders in its own words."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..system.stack import MEMORY, Resources, Stack

USER = 10001  # that of the image; its number and its group's
RESTART = "unless-stopped"  # by the engine: after a crash, and with itself
STOP_TIMEOUT = 30  # seconds from SIGTERM to SIGKILL
# As in docker-compose.yml, for whoever says nothing else.
BROKER = "kafka:9092"
DATABASE = "postgresql://{service}:{password}@postgres/{service}"
GENERATION = "saga.generation"  # a label of what was deployed; docker-compose's have none
LOG_DRIVER = "json-file"
LOG_ROTATION = {"max-size": "10m", "max-file": "3"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """Limits and hardening; the defaults are those of a function's, saga's or adapter's container.

    No process in any container gets more privileges than its first one, and every log is rotated.
    """

    memory: str = MEMORY  # in Docker's notation, as in a stack file
    cpus: float | None = None  # None: as many as there are
    processes: int | None = 128  # and threads, at most; None: no limit
    is_read_only: bool = True  # except for volumes and `tmpfs`
    tmpfs: Mapping[str, str] = field(default_factory=lambda: {"/tmp": "size=64m,mode=1777"})  # noqa: S108
    has_capabilities: bool = False
    restart: str = RESTART


def container_for(resources: Resources) -> Container:
    """Describe a function's, saga's or adapter's container, with the limits of its stack file."""
    return Container(memory=resources.memory or MEMORY, cpus=resources.cpu)


def labels(stack: Stack, name: str, *, system: str, version: str) -> dict[str, str]:
    """Return the labels of a function's, saga's or adapter's container: it is found by them."""
    return {
        "saga.system": system,
        "saga.stack": stack.service,
        "saga.kind": stack.kind(name.partition(".")[2] or None),
        "saga.name": name,
        "saga.version": version,
    }
