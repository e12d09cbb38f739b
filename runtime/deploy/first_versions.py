"""What `saga up` starts with: versions of the code as it is now, or those that ran before."""

import logging
from collections.abc import Mapping
from pathlib import Path

from ..errors import SagaError
from ..settings import Settings
from ..system.recovery import FRESH, Recovery, plan_recovery
from ..system.stack import Stack, find_stacks
from ..system.state import CODE
from ..system.wanted import Wanted, instance_name, read_record, versions_of
from . import history
from .artifact import SHOWN, ArtifactError, bundle, is_whole, remove_unpacked, unpack
from .lock import Locks
from .provenance import Provenance, git_provenance
from .store import Store, fetch, open_store, save

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


def recover(settings: Settings) -> Recovery:
    """Decide what is brought back, and see that its code is there.

    Code that is damaged, as a power cut may leave it, is unpacked anew; where there is no artifact
    of it any more, it stays as it is.

    Raises `ArtifactError` where a version would run on other packages than before.
    """

    def deployed(name: str) -> str | None:
        try:
            past = history.deployments(open_store(settings.artifacts), _on(settings), name)
        except ArtifactError as error:
            log.warning("which version of %s was deployed last is not known: %s", name, error)
            return None
        return past[-1].version if past else None

    recovery = plan_recovery(read_record(settings.saga_data), deployed)
    if recovery.told:
        log.warning("%s", recovery.told)
    for version in {one.version for one in (recovery.wanted or {}).values()}:
        try:
            restore(settings, version)
        except ArtifactError as error:
            log.error("the code of version %s is not as it was: %s", version[:SHOWN], error)
    _check_packages(settings, recovery)
    return recovery


def _check_packages(settings: Settings, recovery: Recovery) -> None:
    """Raise `ArtifactError` where a version that is brought back ran on other packages.

    Of a version whose artifact or record is away, nothing is known that could be compared.
    """
    store = open_store(settings.artifacts)
    locks = Locks(store)
    there = {(one.deployed, one.version) for one in (recovery.wanted or {}).values()}
    for name, version in sorted(there):
        try:
            past = history.deployments(store, _on(settings), name)
            old = history.provenance_of(past, version).lock
            here = locks.digest(fetch(store, version))
        except ArtifactError as error:
            log.warning("what %s ran on can't be compared: %s", name, error)
        else:
            locks.check(f"{name} {version[:SHOWN]}", old, here, FRESH)


def restore(settings: Settings, version: str) -> None:
    """Unpack a version's code anew where it is not as it was.

    Raises `ArtifactError` where its artifact is not there any more, either.
    """
    code = settings.saga_data.absolute() / CODE
    if is_whole(code / version):
        return
    try:
        artifact = fetch(open_store(settings.artifacts), version)
    except ArtifactError as error:
        raise ArtifactError(
            f"its code was removed, and {error}: `saga down` and `saga up` make it anew"
        ) from None
    unpack(artifact, code)


def record(settings: Settings, running: Mapping[str, Wanted]) -> None:
    """Record which versions were started, where they are not those of the last time.

    What is deployed meanwhile is recorded by its deploy, and here neither before nor after that.
    """
    system = _on(settings)
    found = versions_of(running.values())
    versions = {name: min(some) for name, some in found.items() if len(some) == 1}
    try:
        store = open_store(settings.artifacts)
        before = _last(store, system)
        changed = {name: v for name, v in versions.items() if v != before.get(name)}
        locks = Locks(store)
        made_of = _provenances(settings, locks) if changed else {}
        now = _last(store, system)  # as that has taken a while
        made = [
            history.deployment(
                system,
                name,
                version,
                before.get(name),
                provenance=made_of.get(version, Provenance()),
            )
            for name, version in changed.items()
            if now.get(name) == before.get(name)
        ]
        locks.keep(entry.lock for entry in made)
        history.record(store, made)
    except SagaError as error:
        log.warning("what runs is not recorded: %s", error)


def _last(store: Store, system: str) -> dict[str, str]:
    """Return the versions that were deployed last, by name."""
    return {entry.name: entry.version for entry in history.deployments(store, system)}


def _provenances(settings: Settings, locks: Locks) -> dict[str, Provenance]:
    """Tell where versions come from; of one whose files have changed since, nothing is known."""
    made = [bundle(path, stack) for path, stack in find_stacks(settings.saga_stacks).items()]
    return {
        artifact.version: git_provenance(artifact).model_copy(
            update={"lock": locks.digest(artifact)}
        )
        for artifact in made
    }


def _on(settings: Settings) -> str:
    return settings.model_copy(update={"saga_target": "process"}).deployed_on
