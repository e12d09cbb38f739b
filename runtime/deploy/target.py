"""What a deploy needs of a place where functions run, be it processes or containers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from ..errors import NotRunning, SagaError
from ..system.log_reader import IsWanted
from ..system.stack import Stack
from .artifact import Artifact
from .provenance import Provenance

LAST_LINES = 20  # that tell why an instance has ended
DEPLOYED = ("function", "saga", "adapter")  # kinds that are deployed; no broker is
IMAGE = "image"  # the version of what runs the code that its image brought along

State = Literal["starting", "ready", "unhealthy", "restarting", "stopping", "stopped"]


class NotHealthy(SagaError):
    """An instance ended, or did not take up its work; the text has its last log lines."""


@dataclass(frozen=True, slots=True)
class Release:
    """A function, a saga or an adapter in one version, as its stack file of that version says.

    `artifact` is None for the code that the image brought along. Where its `provenance` names an
    image, its containers run that one, else the one of the settings. Its instances are of one
    `generation`, which tells them from those of another deploy of this version, and there are to be
    so many `replicas`.
    """

    name: str
    stack: Stack
    version: str
    artifact: Artifact | None
    provenance: Provenance = field(default_factory=Provenance)
    generation: str = ""
    replicas: int = 1

    @property
    def entry(self) -> str | None:
        """The function's or saga's name within its service, None for an adapter."""
        return self.name.partition(".")[2] or None


@dataclass(frozen=True, slots=True)
class Instance:
    """One process or container: `deployed` is the function's, saga's or adapter's name.

    `kind` is `function`, `saga` or `adapter`, or says what else belongs to the system. `port` is
    where an adapter or a broker listens on this machine, `image` the id of a container's image;
    its `generation` is its release's.
    """

    name: str
    deployed: str
    kind: str
    version: str
    state: State
    restarts: int = 0
    pid: int | None = None
    port: int | None = None
    where: str = ""
    image: str | None = None
    generation: str = ""


def told(what: str, lines: Sequence[str]) -> str:
    """Say what happened to an instance, with its last words."""
    return "\n".join([what + (". Its last lines:" if lines else "; it logged nothing"), *lines])


def instances_of(instances: Sequence[Instance], name: str) -> list[Instance]:
    """Return a function's or an adapter's instances; raise `NotRunning` where there are none."""
    deployed = [i for i in instances if i.kind in DEPLOYED]
    if found := [instance for instance in deployed if instance.deployed == name]:
        return found
    others = sorted({instance.deployed for instance in deployed})
    raise NotRunning(
        f"{name} does not run; `saga deploy` starts it. There are: {', '.join(others) or 'none'}"
    )


class Target(Protocol):
    """Runs instances; all calls raise a `SagaError` with one line that says what to do.

    Where it `shares_ports`, several instances of an adapter answer at its port.
    """

    shares_ports: bool

    def instances(self) -> list[Instance]:
        """List what runs of the system, by name."""

    def check(self, release: Release, numbers: Sequence[int]) -> None:
        """Raise what would keep these instances from starting, as far as it can be known before."""

    def rehearse(self, release: Release) -> str | None:
        """Start an adapter beside the one that has its port, without a port; return its name.

        None where that can't be.
        """

    def prepare(self, release: Release, number: int) -> None:
        """Do what can be done of `start` before the port is free, for `start` to take less time."""

    def start(self, release: Release, number: int) -> str:
        """Start one more instance; return its name, or leave nothing behind and raise."""

    def is_ready(self, name: str) -> bool:
        """Tell whether an instance does its work; raise `NotHealthy` when it has ended."""

    def keep(self, name: str) -> None:
        """Let an instance that has become ready be started again whenever it ends."""

    def stop(self, names: Sequence[str]) -> None:
        """Let instances finish what they have begun, and end; return when they have."""

    def restore(self, instance: Instance) -> None:
        """Start again what `stop` has ended."""

    def remove(self, names: Sequence[str]) -> None:
        """Stop instances, and leave nothing of them."""

    def last_lines(self, name: str) -> list[str]:
        """Return what an instance has logged last."""

    def logs(self, is_wanted: IsWanted, *, follow: bool) -> Iterator[tuple[str, str]]:
        """Go through the lines that instances have logged, with the instance's name."""

    def invoke(self, function: str, data: str, timeout: float) -> str:
        """Send one command; return its event as JSON, or raise after `timeout` seconds."""
