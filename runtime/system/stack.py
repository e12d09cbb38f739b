"""Stack files: which functions, sagas, adapter, port and database make up a deployment."""

import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from ..dead_letter import SUFFIX
from ..errors import StackError
from ..function import Function, load
from ..secrets import read_secret
from ..settings import Settings

if TYPE_CHECKING:
    from ..saga_host import HostedSaga

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Module = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")]
Memory = Annotated[str, Field(pattern=r"^[1-9]\d*[mg]$")]  # mebibytes or gibibytes
MOST_REPLICAS = 100  # processes that a typing error may start

HostedKind = Literal["function", "saga", "adapter"]

MEMORY: Memory = "256m"  # of a container whose stack file says nothing


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _handlers_own(environment: dict[str, str]) -> dict[str, str]:
    """Refuse what is the runtime's: it would be another's database, or no health."""
    for name in environment:
        if name.lower() in Settings.model_fields:
            raise ValueError(f"{name} is the runtime's own, not the handler's")
    return environment


class Resources(_Table):
    """What a function, a saga or an adapter is given by its host.

    `memory` and `cpu` (in cores) limit a container. `environment` is for the handler; the runtime's
    own settings are the process's. `secrets` names variables whose values are never in a stack
    file: see `saga.runtime.secrets`.
    """

    memory: Memory | None = None
    cpu: Annotated[float, Field(gt=0, le=1024)] | None = None
    environment: Annotated[dict[Variable, str], AfterValidator(_handlers_own)] = {}
    secrets: tuple[Variable, ...] = ()


class Entry(Resources):
    """How a function or a saga is deployed.

    The topics that it reads have so many `partitions`, or as many as there are `replicas`, if that
    is more: a partition is read by one of them.
    """

    partitions: Annotated[int, Field(ge=1, le=1000)] = 1
    replicas: Annotated[int, Field(ge=0, le=MOST_REPLICAS)] = 1

    def width(self, replicas: int = 0) -> int:
        """Return how many partitions the topics have; now there may be more `replicas` of it."""
        return max(self.partitions, self.replicas, replicas)


class Stack(Resources):
    """One service. Its functions and sagas are modules of `package`, by the names of their tables.

    The resources that it gives, it gives to all of them and to its adapter.
    """

    service: Name
    package: Module
    database: Name
    adapter: Module | None = None
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    functions: dict[Name, Entry] = {}
    sagas: dict[Name, Entry] = {}

    @field_validator("sagas")
    @classmethod
    def _one_of_a_name(cls, sagas: dict[str, Entry], before: ValidationInfo) -> dict[str, Entry]:
        if both := sorted(before.data.get("functions", {}).keys() & sagas.keys()):
            raise ValueError(f"{both[0]} is a function, too: they are deployed by their names")
        return sagas

    @property
    def entries(self) -> dict[str, Entry]:
        """The functions and the sagas, by their names within the service."""
        return {**self.functions, **self.sagas}

    def module(self, entry: str) -> str:
        """Return the module that holds a function or a saga."""
        return f"{self.package}.{entry}"

    def name(self, entry: str | None) -> str:
        """Return under which name an entry is deployed; without one, the adapter."""
        return f"{self.service}.{entry}" if entry else self.service

    def kind(self, entry: str | None) -> HostedKind:
        """Tell what an entry is; without a name, it is the adapter."""
        if entry is None:
            return "adapter"
        return "saga" if entry in self.sagas else "function"

    def resources(self, entry: str | None = None) -> Resources:
        """Return what an entry, or the adapter, is given: its own before the service's."""
        own = Resources() if entry is None else self.entries[entry]
        return Resources(
            memory=own.memory or self.memory or MEMORY,
            cpu=own.cpu or self.cpu,
            environment={**self.environment, **own.environment},
            secrets=tuple(dict.fromkeys((*self.secrets, *own.secrets))),
        )

    def names(self) -> list[str]:
        """List what can be deployed: functions, sagas, then the adapter by the service's name."""
        entries = [self.name(entry) for entry in self.entries]
        return [*entries, self.service] if self.adapter else entries

    def replicas(self, name: str) -> int:
        """Return how many of a function, a saga or the adapter are wanted."""
        entry = name.partition(".")[2]
        return self.entries[entry].replicas if entry else 1

    def all_secrets(self) -> set[str]:
        """List the secrets of all functions and sagas and of the adapter."""
        return {secret for name in (None, *self.entries) for secret in self.resources(name).secrets}

    def load(self) -> "list[tuple[Function | HostedSaga, Entry]]":
        """Import functions and sagas; raise `ContractError` for one that is declared wrongly."""
        return [(self.load_entry(name), entry) for name, entry in self.entries.items()]

    def load_entry(self, name: str) -> "Function | HostedSaga":
        """Import one as its host would: with its environment, and what secrets there are.

        Raises `ContractError` when it is declared wrongly.
        """
        resources, before = self.resources(name), dict(os.environ)
        secrets = {secret: read_secret(secret) for secret in resources.secrets}
        os.environ.update(resources.environment)
        os.environ.update({secret: value for secret, value in secrets.items() if value is not None})
        try:
            return self.import_entry(name)
        finally:
            os.environ.clear()
            os.environ.update(before)

    def import_entry(self, name: str) -> "Function | HostedSaga":
        """Import a function or a saga; raise `ContractError` when it is declared wrongly."""
        from ..saga_host import load_saga

        module = self.module(name)
        return load_saga(module) if name in self.sagas else load(module)


def read_stack(path: Path) -> Stack:
    """Read one stack file; raise `StackError`, which names the file, the key and the reason."""
    try:
        return parse_stack(path.read_bytes(), str(path))
    except OSError as error:
        raise StackError(f"{path}: {error}") from error


def parse_stack(text: bytes, where: str) -> Stack:
    """Read a stack file's text; raise `StackError`, as `read_stack` does."""
    try:
        return Stack.model_validate(tomllib.loads(text.decode("utf-8-sig")))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise StackError(f"{where}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"] if part != "[key]")
        reason = first["msg"].removeprefix("Value error, ")
        raise StackError(f"{where}: {key}: {reason}") from error


def read_stacks(folder: Path) -> list[Stack]:
    """Read all stack files of a folder; raise `StackError` where two claim the same thing."""
    return list(find_stacks(folder).values())


def find_stacks(folder: Path) -> dict[Path, Stack]:
    """Read all stack files of a folder, as `read_stacks` does, and return them by their paths."""
    paths = sorted(folder.glob("[!.]*.toml"))
    if not paths:
        raise StackError(f"{folder}: no stack files (*.toml) in this folder")
    claimed: dict[object, Path] = {}
    stacks = {}
    for path in paths:
        stack = read_stack(path)
        for key, value in (("service", stack.service), ("port", stack.port)):
            other = claimed.setdefault((key, value), path) if value is not None else path
            if other != path:
                raise StackError(f"{path}: {key}: {value} is taken by {other.name}")
        if stack.adapter is not None and stack.port is None:
            raise StackError(f"{path}: port: an adapter needs a port")
        stacks[path] = stack
    return stacks


def topics(stacks: Sequence[Stack], replicas: int = 0) -> dict[str, int]:
    """List the topics that the stacks need, with partitions, where each may have `replicas`."""
    partitions: dict[str, int] = {}
    for stack in stacks:
        for hosted, entry in stack.load():
            widen(partitions, needed_by(hosted, entry.width(replicas)))
    return partitions


def widen(partitions: dict[str, int], more: Mapping[str, int]) -> None:
    """Add topics; for one that is there already, the larger number of partitions counts."""
    for topic, count in more.items():
        partitions[topic] = max(count, partitions.get(topic, 1))


def needed_by(hosted: "Function | HostedSaga", partitions: int) -> dict[str, int]:
    """List the topics that one function or saga needs, with partitions.

    They are those that it reads, as a topic belongs to its reader, who alone knows how many
    partitions it wants. A saga's host needs two kinds more: those of its commands, whose readers
    may be deployed later, and add to the one partition; and the one on which it tells what has
    ended, to whoever wants to know.
    """
    told = [] if isinstance(hosted, Function) else hosted.saga.told_topics
    return dict.fromkeys(told, 1) | read_by(hosted.topics, partitions)


def read_by(read: Sequence[str], partitions: int) -> dict[str, int]:
    """List the topics that one function or saga reads, and their dead letters, with partitions."""
    return dict.fromkeys(read, partitions) | {topic + SUFFIX: 1 for topic in read}
