"""The target of containers: one per instance, on a Docker engine, on a network of the system's.

What belongs to the system is known by its labels; nothing else on the engine is ever touched.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import docker
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.models.containers import Container
from requests.exceptions import RequestException

from ..errors import SagaError
from ..settings import Settings
from ..system.log_reader import IsWanted
from ..system.wanted import instance_name
from .compose_project import project_labels
from .container import RESTART, STOP_TIMEOUT
from .container_options import (
    CODE,
    SECRETS,
    code_archive,
    options,
    secrets,
    secrets_archive,
    volume_labels,
)
from .container_state import is_healthy, to_instance, why
from .following import Unread, follow_all
from .target import (
    DEPLOYED,
    LAST_LINES,
    Instance,
    NotHealthy,
    Release,
    instances_of,
    told,
)

ENGINE_TIMEOUT = 120  # seconds
REHEARSAL = "rehearsal"  # in place of the kind and the version of what only shows that it works


class Containers:
    """The containers of a system; raises `SagaError` when no engine answers."""

    shares_ports = False  # the engine publishes a port for one container

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._system = settings.saga_system
        self._prepared: dict[str, Container] = {}
        with self._engine():
            self._docker = docker.from_env(timeout=ENGINE_TIMEOUT)
            self._docker.ping()

    def instances(self) -> list[Instance]:
        """List the system's containers, those of docker-compose among them."""
        with self._engine():
            return sorted(map(to_instance, self._containers()), key=lambda i: i.name)

    def check(self, release: Release, numbers: Sequence[int]) -> None:
        """Look for the image, the secrets, and containers and networks that are in the way."""
        if not numbers:
            return
        secrets(self._settings, release)
        with self._engine():
            self._check_image(release.provenance.image)
            self._check_network()
            for number in numbers:
                self._check_name(instance_name(release.name, number))

    def rehearse(self, release: Release) -> str | None:
        """Start a container that is not published, and belongs to no project of docker-compose's.

        The labels keep it from being taken for an instance, should its deploy be killed.
        """
        name = f"{release.name}-{REHEARSAL}"
        self.remove([name])  # of a deploy that was killed
        labels = {"saga.kind": REHEARSAL, "saga.version": REHEARSAL}
        self._start(self._create(name, release, labels, {"ports": {}}))
        return name

    def prepare(self, release: Release, number: int) -> None:
        """Create a container, and put code and secrets into it."""
        name = instance_name(release.name, number)
        with self._engine():
            others = [container.labels for container in self._containers()]
        project = project_labels(others, release.name, number)
        self._prepared[name] = self._create(name, release, project, {})

    def start(self, release: Release, number: int) -> str:
        """Start a container, which is created unless it was prepared."""
        name = instance_name(release.name, number)
        if name not in self._prepared:
            self.prepare(release, number)
        self._start(self._prepared.pop(name))
        return name

    def is_ready(self, name: str) -> bool:
        """Run the container's health check now, as the engine itself looks only now and then."""
        with self._engine():
            container = self._get(name)
            if container.status not in ("created", "running"):
                raise NotHealthy(told(f"{name} has ended{why(container)}", self.last_lines(name)))
            return is_healthy(container)

    def keep(self, name: str) -> None:
        """Let the engine start the container again, after a crash and with itself."""
        with self._engine():
            self._get(name).update(restart_policy={"Name": RESTART})

    def stop(self, names: Sequence[str]) -> None:
        """Send SIGTERM to all at once and wait."""
        self._for_all(names, lambda container: container.stop(timeout=STOP_TIMEOUT))

    def restore(self, instance: Instance) -> None:
        """Start the stopped container."""
        with self._engine():
            self._get(instance.name).start()

    def remove(self, names: Sequence[str]) -> None:
        """Stop containers, then remove them with their code and secrets."""
        self.stop(names)
        self._for_all(names, lambda container: container.remove(v=True, force=True))
        self._remove_left_volumes()

    def last_lines(self, name: str) -> list[str]:
        """Return the end of the container's log."""
        with self._engine():
            text = self._get(name).logs(tail=LAST_LINES).decode(errors="replace")
        return list(text.splitlines())

    def logs(self, is_wanted: IsWanted, *, follow: bool) -> Iterator[tuple[str, str]]:
        """Go through the containers' logs, all at once; those followed are all that will come."""
        unread = Unread(self._containers, is_wanted, follow=follow)
        with self._engine():
            yield from follow_all(unread(), unread if follow else None)

    def invoke(self, function: str, data: str, timeout: float) -> str:
        """Send the command from inside of a container of the function: it knows the broker."""
        with self._engine():
            found = instances_of(self.instances(), function)
            name = min(found, key=lambda instance: instance.state != "ready").name
            command = ["saga", "invoke", function, "--body", data, "--timeout", f"{timeout:g}"]
            done = self._get(name).exec_run(command, demux=True)
        out, err = ((part or b"").decode(errors="replace").strip() for part in done.output)
        if done.exit_code not in (0, 2):
            raise SagaError(err.removeprefix("saga: ") or out)
        return out

    def down(self) -> None:
        """Remove all functions and adapters, then their network unless somebody else is on it.

        A broker or database of docker-compose's is left alone.
        """
        kinds = (*DEPLOYED, REHEARSAL)
        self.remove([i.name for i in self.instances() if i.kind in kinds])
        with self._engine():
            for network in self._networks():
                network.reload()
                if network.attrs["Labels"].get("saga.system") and not network.attrs["Containers"]:
                    network.remove()

    def _create(
        self, name: str, release: Release, labels: Mapping[str, str], changes: Mapping[str, Any]
    ) -> Container:
        """Create a container with more labels and other options; put code and secrets into it."""
        files = secrets(self._settings, release)
        with self._engine():
            self._make_network()
            given = {**options(self._settings, release, labels), **changes}
            container: Container = self._docker.containers.create(
                name=self._container_name(name), **given
            )
            with _removed_unless_all_went_well(container):
                if release.artifact is not None:
                    container.put_archive(CODE, code_archive(release.artifact))
                container.put_archive(SECRETS, secrets_archive(files))
        return container

    def _start(self, container: Container) -> None:
        with self._engine(), _removed_unless_all_went_well(container):
            container.start()

    def _containers(self) -> list[Container]:
        mine = {"label": f"saga.system={self._system}"}
        found: list[Container] = self._docker.containers.list(
            all=True, ignore_removed=True, filters=mine
        )
        return found

    def _get(self, name: str) -> Container:
        for known_as in (self._container_name(name), name):  # docker-compose has names of its own
            with suppress(NotFound):
                container: Container = self._docker.containers.get(known_as)
                if container.labels.get("saga.system") == self._system:
                    return container
        raise NotHealthy(f"{name} is gone")

    def _for_all(self, names: Sequence[str], act: Callable[[Container], object]) -> None:
        def act_on(name: str) -> None:
            with suppress(NotHealthy, NotFound):  # what is gone already
                act(self._get(name))

        with self._engine(), ThreadPoolExecutor(max_workers=max(1, len(names))) as threads:
            list(threads.map(act_on, names))

    def _remove_left_volumes(self) -> None:
        """Remove code and secrets of containers that somebody else has removed, and not those."""
        wanted = [f"{key}={value}" for key, value in volume_labels(self._settings).items()]
        with self._engine():
            for volume in self._docker.volumes.list(filters={"dangling": True, "label": wanted}):
                with suppress(NotFound):
                    volume.remove()

    def _check_image(self, pinned: str | None) -> None:
        image = self._settings.saga_image
        try:
            self._docker.images.get(pinned or image)
        except ImageNotFound:
            what = f"image {image} is not on this engine: build it with `make image`, or set "
            what += "SAGA_IMAGE to another"
            if pinned:
                what = f"image {pinned}, which this version ran on, is not on this engine: load "
                what += f"it, or take {image} with --force"
            raise SagaError(what) from None

    def _check_name(self, name: str) -> None:
        try:
            found = self._docker.containers.get(self._container_name(name))
        except NotFound:
            return
        if found.labels.get("saga.system") == self._system:
            raise SagaError(f"{name} has just appeared: another deploy is going on")
        raise SagaError(
            f"there is a container {self._container_name(name)} that is not of the system "
            f"{self._system}: rename it, or choose another SAGA_SYSTEM"
        )

    def _check_network(self) -> None:
        for network in self._networks():
            labels = network.attrs.get("Labels") or {}
            if not any(label.startswith(("saga.", "com.docker.compose.")) for label in labels):
                raise SagaError(
                    f"there is a network {self._system} that is neither ours nor docker-compose's: "
                    "choose another SAGA_SYSTEM"
                )

    def _make_network(self) -> None:
        if not self._networks():
            labels = {"saga.system": self._system}
            self._docker.networks.create(self._system, driver="bridge", labels=labels)

    def _networks(self) -> list[Any]:
        found = self._docker.networks.list(names=[self._system])
        return [network for network in found if network.name == self._system]

    def _container_name(self, name: str) -> str:
        return f"{self._system}-{name}"

    @contextmanager
    def _engine(self) -> Iterator[None]:
        """Turn the engine's errors into one line that says what to do."""
        try:
            yield
        except (APIError, DockerException, RequestException) as error:
            raise SagaError(explain(error)) from error


@contextmanager
def _removed_unless_all_went_well(container: Container) -> Iterator[None]:
    try:
        yield
    except BaseException:
        container.remove(v=True, force=True)
        raise


def explain(error: Exception) -> str:
    """Say in one line what an engine's error means."""
    text = str(getattr(error, "explanation", None) or error).strip().replace("\n", " ")
    if "port is already allocated" in text or "address already in use" in text:
        return f"a port is taken on the engine's machine: {text}"
    if "no space left on device" in text:
        return f"the engine's disk is full: {text}"
    if "has active endpoints" in text:
        return f"the network counts as used; if nobody is on it, restart the Docker engine: {text}"
    if not isinstance(error, APIError):
        address = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
        return f"no Docker engine answers at {address}: is it running? ({text})"
    return f"the Docker engine refused: {text}"
