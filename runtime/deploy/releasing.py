"""What the commands do with releases: deploy them, go back, change how many run, take them away."""

from collections.abc import Sequence

from ..data_directory import claim
from ..errors import SagaError
from ..settings import Settings
from ..system.stack import find_stacks
from ..system.state import changing, read_system
from . import history
from .artifact import SHOWN, Artifact, bundle, stack_of
from .rollout import READY_TIMEOUT, Change, Tell, plan, plan_scale, roll_out
from .store import Store, fetch, open_store, save
from .target import IMAGE, Instance, Release, Target, instances_of
from .targets import open_target


class Releasing:
    """One system's releases, with their target and their store.

    A new instance has `timeout` seconds to get healthy. Raises `NotOurs` as `claim` does.
    """

    def __init__(self, settings: Settings, tell: Tell, timeout: float = READY_TIMEOUT) -> None:
        self.target: Target = open_target(settings)
        if settings.saga_target == "process" and "saga_stacks" not in settings.model_fields_set:
            stacks = read_system(settings.saga_data).stacks  # what it was started with
            settings = settings.model_copy(update={"saga_stacks": stacks})
        claim(settings.saga_data)
        self.settings = settings
        self.store: Store = open_store(settings.artifacts)
        self._tell = tell
        self._timeout = timeout

    def deploy(self, names: Sequence[str], *, force: bool = False) -> list[Release]:
        """Deploy functions, sagas and adapters as their code is now, all if none is named.

        With `force`, also those that run this version already. Returns those that were changed.
        Raises a `SagaError` and leaves all as it was when one of them can't be deployed.
        """
        found = {
            name: (path, stack)
            for path, stack in find_stacks(self.settings.saga_stacks).items()
            for name in stack.names()
        }
        if unknown := [name for name in names if name not in found]:
            raise SagaError(f"{unknown[0]}: not one of {', '.join(found)}")
        artifacts: dict[str, Artifact] = {}
        releases = []
        for name in dict.fromkeys(names or found):
            path, stack = found[name]
            artifact = artifacts.get(stack.service) or bundle(path, stack)
            artifacts[stack.service] = artifact
            releases.append(Release(name, stack, artifact.version, artifact))
        for artifact in artifacts.values():
            save(self.store, artifact)
        return self._replace(releases, force=force)

    def roll_back(self, name: str, version: str | None) -> Release:
        """Deploy an earlier version again: what had run before, or the one that is named."""
        past = history.deployments(self.store, self.settings.deployed_on, name)
        if version is None:
            running = self._running(name)
            version = history.version_before(past, running[0].version if running else None)
        else:
            version = history.version_named(past, version)
        release = self._release(name, version)
        if not self._replace([release]):
            raise SagaError(f"{name} runs {version[:SHOWN]} already")
        return release

    def scale(self, counts: dict[str, int]) -> None:
        """Run so many instances of each; raise a `SagaError` where that makes no sense."""
        with changing(self.settings.saga_data):
            running = self.target.instances()
            changes = []
            for name, count in counts.items():
                release = self._release(name, self._last_version(name, running))
                self._check_count(release, count)
                changes.append(plan_scale(release, count, running))
            roll_out(self.target, changes, self._tell, self._timeout)

    def remove(self, names: Sequence[str]) -> None:
        """Stop all instances of functions, sagas and adapters."""
        with changing(self.settings.saga_data):
            running = self.target.instances()
            found = [instance for name in names for instance in instances_of(running, name)]
            self.target.remove([instance.name for instance in found])

    def _replace(self, releases: Sequence[Release], *, force: bool = False) -> list[Release]:
        with changing(self.settings.saga_data):
            running, shares_ports = self.target.instances(), self.target.shares_ports
            changes = plan(releases, running, force=force, shares_ports=shares_ports)
            roll_out(
                self.target,
                changes,
                self._tell,
                self._timeout,
                lambda: self._record(changes),
            )
        return [change.release for change in changes]

    def _check_count(self, release: Release, count: int) -> None:
        """Raise `SagaError` where so many instances make no sense."""
        if release.entry is None:
            if count > 1 and not self.target.shares_ports:
                raise SagaError(f"{release.name} is an adapter: its port is for one container")
            return
        most = release.stack.entries[release.entry].partitions
        if count > most:
            raise SagaError(
                f"{release.name} has {most} partitions: more than {most} instances would be idle"
            )

    def _last_version(self, name: str, running: Sequence[Instance]) -> str:
        """Return the version that runs, or the last one that did: none may, after `=0`."""
        past = history.deployments(self.store, self.settings.deployed_on, name)
        if past and not any(instance.deployed == name for instance in running):
            return past[-1].version
        return instances_of(running, name)[0].version

    def _record(self, changes: Sequence[Change]) -> None:
        for change in changes:
            name, version = change.release.name, change.release.version
            replaced = change.old[0].version if change.old else None
            if change.numbers:
                history.record(self.store, self.settings.deployed_on, name, version, replaced)

    def _release(self, name: str, version: str) -> Release:
        """Make a release of a version in the store, or of what the image brings along."""
        if version == IMAGE:
            stacks = find_stacks(self.settings.saga_stacks).values()
            stack = next((stack for stack in stacks if name in stack.names()), None)
            artifact = None
        else:
            artifact = fetch(self.store, version)
            stack = stack_of(artifact)
        if stack is None or name not in stack.names():
            raise SagaError(f"version {version[:SHOWN]} has no {name}")
        return Release(name, stack, version, artifact)

    def _running(self, name: str) -> list[Instance]:
        return [instance for instance in self.target.instances() if instance.deployed == name]
