"""What `saga up` starts with: a version of each service, made of its code as it is now."""

import logging
from collections.abc import Mapping
from pathlib import Path

from ..settings import Settings
from ..system.stack import Stack
from ..system.state import CODE, Wanted, instance_name
from . import history
from .artifact import ArtifactError, bundle, remove_unpacked, unpack
from .store import open_store, save

log = logging.getLogger(__name__)


def prepare(settings: Settings, stacks: Mapping[Path, Stack]) -> dict[str, Wanted]:
    """Make, keep and unpack an artifact of each service; return what its stack file wants."""
    code = settings.saga_data.absolute() / CODE
    remove_unpacked(code)  # of earlier systems
    store, wanted = open_store(settings.artifacts), {}
    for path, stack in stacks.items():
        artifact = bundle(path, stack)
        save(store, artifact)
        unpack(artifact, code)
        for name in stack.names():
            for number in range(1, stack.replicas(name) + 1):
                instance = Wanted(deployed=name, version=artifact.version)
                wanted[instance_name(name, number)] = instance
    return wanted


def record(settings: Settings, versions: Mapping[str, str]) -> None:
    """Record which versions were started, by name, where they are not those of the last time."""
    system = settings.model_copy(update={"saga_target": "process"}).deployed_on
    try:
        store = open_store(settings.artifacts)
        before = {entry.name: entry.version for entry in history.deployments(store, system)}
        made = [
            history.deployment(system, name, version, before.get(name))
            for name, version in versions.items()
            if version != before.get(name)
        ]
        history.record(store, made)
    except ArtifactError as error:
        log.warning("what runs is not recorded: %s", error)
