"""What the commands do with releases: deploy them, go back, change how many run, take them away."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from uuid_utils.compat import uuid7

from ..errors import SagaError
from ..settings import ORDERS, Settings
from ..system.stack import MOST_REPLICAS, find_stacks
from ..system.state import changing, read_system
from ..system.wanted import instance_name
from . import history
from .artifact import SHOWN, Artifact, bundle, stack_of
from .history import Deployment
from .lock import Locks
from .provenance import Provenance, git_provenance
from .rollout import READY_TIMEOUT, Change, Tell, plan, plan_scale, roll_out
from .store import Store, fetch, open_store, save
from .target import IMAGE, Instance, Release, Target, instances_of
from .targets import open_target


class Releasing:
    """One system's releases, with their target and their store.

    A new instance has `timeout` seconds to get healthy. All that changes something raises what
    `changing` raises.
    """

    def __init__(self, settings: Settings, tell: Tell, timeout: float = READY_TIMEOUT) -> None:
        self.target: Target = open_target(settings)
        unset = settings.saga_stacks == ORDERS and "saga_stacks" not in settings.model_fields_set
        if settings.saga_target == "process" and unset:
            stacks = read_system(settings.saga_data).stacks  # what it was started with
            settings = settings.model_copy(update={"saga_stacks": stacks})
        self.settings = settings
        self.store: Store = open_store(settings.artifacts)
        self._locks = Locks(self.store)
        self._generation = str(uuid7())
        self._tell = tell
        self._timeout = timeout

    def deploy(self, names: Sequence[str], *, force: bool = False) -> list[Release]:
        """Deploy functions, sagas and adapters as their code is now, all if none is named.

        NAME@VERSION is a version that a system has run which shares the store. With `force`, also
        those that run this version already, and on what is there now. Returns those that were
        changed. Raises a `SagaError` and leaves all as it was when one of them can't be deployed.
        """
        releases = self._releases(names, force=force)
        with changing(self.settings.saga_data):
            for artifact in {release.version: release.artifact for release in releases}.values():
                if artifact is not None:
                    save(self.store, artifact)
            return self._replace(releases, force=force)

    def dry_run(self, names: Sequence[str], *, force: bool = False) -> list[Change]:
        """Return what `deploy` would do, or raise what keeps it from that; change nothing."""
        releases = self._releases(names, force=force)
        changes = self._plan(releases, force=force)
        for change in changes:
            self.target.check(change.release, change.numbers)
        return changes

    def roll_back(self, name: str, version: str | None, *, force: bool = False) -> Release:
        """Deploy an earlier version again: what had run before, or the one that is named.

        It runs on what it ran on then, or with `force` on what is there now.
        """
        past = self._past(name)
        if not past:
            raise SagaError(f"no deployment of {name} is known; `saga ps` lists what runs")
        if version is None:
            running = self._running(name)
            version = history.version_before(past, running[0].version if running else None)
        else:
            version = history.version_named(past, version)
        release = self._release(name, version, history.provenance_of(past, version), force=force)
        with changing(self.settings.saga_data):
            if not self._replace([release], force=force):
                raise SagaError(f"{name} runs {version[:SHOWN]} already")
        return release

    def scale(self, counts: dict[str, int]) -> None:
        """Run so many instances of each; raise a `SagaError` where that makes no sense."""
        with changing(self.settings.saga_data):
            running = self.target.instances()
            changes = []
            for name, count in counts.items():
                past = self._past(name)
                version = last_version(name, running, past)
                # Its packages are those of the instances that run: nothing is to be compared.
                was = history.provenance_of(past, version).model_copy(update={"lock": None})
                release = self._release(name, version, was)
                if found := [i for i in running if i.deployed == name]:
                    release = replace(release, generation=found[0].generation)
                self._check_count(release, count)
                changes.append(plan_scale(release, count, running))
            roll_out(self.target, changes, self._tell, self._timeout)

    def remove(self, names: Sequence[str]) -> None:
        """Stop all instances of functions, sagas and adapters."""
        with changing(self.settings.saga_data):
            running = self.target.instances()
            found = [instance for name in names for instance in instances_of(running, name)]
            self.target.remove([instance.name for instance in found])

    def _releases(self, words: Sequence[str], *, force: bool) -> list[Release]:
        """Make releases of what is named, all of the code as it is now if nothing is."""
        here = [word for word in words if "@" not in word]
        promoted = [word for word in dict.fromkeys(words) if "@" in word]
        releases = [self._promoted(word, force=force) for word in promoted]
        if here or not promoted:
            releases += self._made_here(here)
        names = [release.name for release in releases]
        if twice := [name for name in names if names.count(name) > 1]:
            raise SagaError(f"{twice[0]} is named twice: in one version only")
        return releases

    def _promoted(self, word: str, *, force: bool) -> Release:
        """Make a release of NAME@VERSION, of what some system has run."""
        name, _, digits = word.partition("@")
        entry = history.run_somewhere(history.all_deployments(self.store), name, digits)
        return self._release(name, entry.version, entry.provenance, force=force)

    def _made_here(self, names: Sequence[str]) -> list[Release]:
        """Make releases of the code as it is now; nothing is kept of them."""
        found = {
            name: (path, stack)
            for path, stack in find_stacks(self.settings.saga_stacks).items()
            for name in stack.names()
        }
        if unknown := [name for name in names if name not in found]:
            raise SagaError(f"{unknown[0]}: not one of {', '.join(found)}")
        made: dict[Path, tuple[Artifact, Provenance]] = {}
        releases = []
        for name in dict.fromkeys(names or found):
            path, stack = found[name]
            if path not in made:
                artifact = bundle(path, stack)
                made[path] = artifact, self._here(artifact, git_provenance(artifact))
            artifact, provenance = made[path]
            release = Release(name, stack, artifact.version, artifact, provenance, self._generation)
            releases.append(release)
        return releases

    def _replace(self, releases: Sequence[Release], *, force: bool = False) -> list[Release]:
        changes = self._plan(releases, force=force)
        roll_out(self.target, changes, self._tell, self._timeout, lambda: self._record(changes))
        return [change.release for change in changes]

    def _plan(self, releases: Sequence[Release], *, force: bool) -> list[Change]:
        running, shares_ports = self.target.instances(), self.target.shares_ports
        return plan(releases, running, force=force, shares_ports=shares_ports)

    def _past(self, name: str) -> list[Deployment]:
        return history.deployments(self.store, self.settings.deployed_on, name)

    def _check_count(self, release: Release, count: int) -> None:
        """Raise `SagaError` where so many instances make no sense."""
        if release.entry is None and count > 1 and not self.target.shares_ports:
            raise SagaError(f"{release.name} is an adapter: its port is for one container")
        if count > MOST_REPLICAS:
            raise SagaError(f"{release.name} can have {MOST_REPLICAS} instances at most")

    def _record(self, changes: Sequence[Change]) -> None:
        images = {instance.name: instance.image for instance in self.target.instances()}
        system = self.settings.deployed_on
        made = [record_of(system, change, images) for change in changes if change.numbers]
        self._locks.keep(entry.lock for entry in made)
        history.record(self.store, made)

    def _release(
        self, name: str, version: str, provenance: Provenance, *, force: bool = False
    ) -> Release:
        """Make a release of a version in the store, or of what the image brings along.

        It is for what it ran on, or with `force` for what is there now. Raises a `SagaError` where
        a process would run on other packages.
        """
        if version == IMAGE:
            stacks = find_stacks(self.settings.saga_stacks).values()
            stack = next((stack for stack in stacks if name in stack.names()), None)
            artifact = None
        else:
            artifact = fetch(self.store, version)
            stack = stack_of(artifact)
        if stack is None or name not in stack.names():
            raise SagaError(f"version {version[:SHOWN]} has no {name}")
        here = self._here(artifact, provenance)
        if force:
            here = here.model_copy(update={"image": None})
        elif here.lock:
            what = f"{name} {version[:SHOWN]}"
            self._locks.check(what, provenance.lock, here.lock, "run it on these with --force")
        return Release(name, stack, version, artifact, here, self._generation)

    def _here(self, artifact: Artifact | None, provenance: Provenance) -> Provenance:
        """Say on which packages a process would run; a container's are in its image."""
        is_process = self.settings.saga_target == "process"
        lock = self._locks.digest(artifact) if artifact and is_process else None
        return provenance.model_copy(update={"lock": lock})

    def _running(self, name: str) -> list[Instance]:
        return [instance for instance in self.target.instances() if instance.deployed == name]


def last_version(name: str, running: Sequence[Instance], past: Sequence[Deployment]) -> str:
    """Return the version that runs, or the last one that did: none may, after `=0`."""
    if past and not any(instance.deployed == name for instance in running):
        return past[-1].version
    return instances_of(running, name)[0].version


def record_of(system: str, change: Change, images: Mapping[str, str | None]) -> Deployment:
    """Describe what a change has brought to work, with the image that its instances run on."""
    release, old = change.release, change.old[0] if change.old else None
    image = images.get(instance_name(release.name, change.numbers[0]))
    return history.deployment(
        system,
        release.name,
        release.version,
        replaced=old.version if old else None,
        replaced_image=old.image if old else None,
        provenance=release.provenance.model_copy(update={"image": image}),
    )
