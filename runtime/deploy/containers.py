"""The target of containers: one per instance, on a Docker engine, on a network of the system's.

What belongs to the system is known by its labels; nothing else on the engine is ever touched.
"""

import io
import os
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

import docker
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.models.containers import Container
from docker.types import LogConfig, Mount
from pydantic import SecretStr
from requests.exceptions import RequestException

from saga.runtime.deploy.artifact import contents
from saga.runtime.deploy.following import follow_all
from saga.runtime.deploy.target import Instance, NotHealthy, Release, State, instances_of
from saga.runtime.errors import SagaError
from saga.runtime.secrets import read_secrets
from saga.runtime.settings import Settings
from saga.runtime.stack import Hosting
from saga.runtime.system import instance_name

# What docker-compose.yml has, for whoever says nothing else.
BROKER = "kafka:9092"
DATABASE = "postgresql://{service}:{password}@postgres/{service}"

USER = 10001  # that of the image; its number and its group's
CODE, SECRETS = "/code", "/run/secrets"
GIB = {"m": 1024**2, "g": 1024**3}  # bytes
PROCESSES = 128  # in a container, threads included
LAST_LINES = 20
DRAIN_TIMEOUT = 30  # seconds that a container has to end by itself
ENGINE_TIMEOUT = 120  # seconds

FILES = ("kafka_ssl_ca_location", "kafka_ssl_certificate_location", "kafka_ssl_key_location")
STATES: dict[str, State] = {
    "created": "starting",
    "restarting": "restarting",
    "exited": "stopped",
    "dead": "stopped",
    "removing": "stopping",
    "paused": "unhealthy",
}
HEALTH: dict[str, State] = {"starting": "starting", "unhealthy": "unhealthy"}


class Containers:
    """The containers of a system; raises `SagaError` when no engine answers."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._system = settings.saga_system
        with self._engine():
            self._docker = docker.from_env(timeout=ENGINE_TIMEOUT)
            self._docker.ping()

    def instances(self) -> list[Instance]:
        """List the system's containers, those of docker-compose among them."""
        with self._engine():
            return sorted(map(_instance, self._containers()), key=lambda i: i.name)

    def start(self, release: Release, number: int) -> str:
        """Create a container, put code and secrets into it, and start it."""
        name = instance_name(release.name, number)
        hosting = release.stack.hosting(release.function)
        secrets = {**read_secrets(hosting.secrets), **self._own_secrets(release)}
        with self._engine():
            self._check_image()
            self._check_name(name)
            self._make_network()
            options = self._options(release, hosting)
            container = self._docker.containers.create(name=self._container_name(name), **options)
            try:
                if release.artifact is not None:
                    container.put_archive(CODE, _code_archive(contents(release.artifact)))
                container.put_archive(SECRETS, _secrets_archive(secrets))
                container.start()
            except BaseException:
                container.remove(v=True, force=True)
                raise
        return name

    def is_ready(self, name: str) -> bool:
        """Run the container's health check now, as the engine itself looks only now and then."""
        with self._engine():
            container = self._get(name)
            if container.status not in ("created", "running"):
                lines = "\n".join(self.last_lines(name))
                raise NotHealthy(f"{name} has ended. Its last lines:\n{lines}")
            return _is_well(container)

    def keep(self, name: str) -> None:
        """Let the engine start the container again, after a crash and with itself."""
        with self._engine():
            self._get(name).update(restart_policy={"Name": "unless-stopped"})

    def stop(self, names: Sequence[str]) -> None:
        """Send SIGTERM to all at once and wait."""
        self._for_all(names, lambda container: container.stop(timeout=DRAIN_TIMEOUT))

    def restore(self, instance: Instance) -> None:
        """Start the stopped container."""
        with self._engine():
            self._get(instance.name).start()

    def remove(self, names: Sequence[str]) -> None:
        """Stop containers, then remove them with their code and secrets."""
        self.stop(names)
        self._for_all(names, lambda container: container.remove(v=True, force=True))

    def last_lines(self, name: str) -> list[str]:
        """Return the end of the container's log."""
        with self._engine():
            text = self._get(name).logs(tail=LAST_LINES).decode(errors="replace")
        return list(text.splitlines())

    def logs(self, names: Sequence[str], *, follow: bool) -> Iterator[tuple[str, str]]:
        """Go through the containers' logs, all at once where they are followed."""
        with self._engine():
            streams = {name: self._get(name).logs(stream=True, follow=follow) for name in names}
            yield from follow_all(streams)

    def invoke(self, function: str, data: str, timeout: float) -> str:
        """Send the command from inside of a container of the function: it knows the broker."""
        with self._engine():
            found = instances_of(self.instances(), function)
            name = min(found, key=lambda instance: instance.state != "ready").name
            command = ["saga", "invoke", function, "--data", data, "--timeout", f"{timeout:g}"]
            done = self._get(name).exec_run(command, demux=True)
        out, err = ((part or b"").decode(errors="replace").strip() for part in done.output)
        if done.exit_code not in (0, 2):
            raise SagaError(err.removeprefix("saga: ") or out)
        return out

    def down(self) -> None:
        """Remove all functions and adapters, then their network unless somebody else is on it.

        A broker or database of docker-compose's is left alone.
        """
        self.remove([i.name for i in self.instances() if i.kind in ("function", "adapter")])
        with self._engine():
            for network in self._networks():
                network.reload()
                if network.attrs["Labels"].get("saga.system") and not network.containers:
                    network.remove()

    def _options(self, release: Release, hosting: Hosting) -> dict[str, Any]:
        code = release.artifact is not None
        volumes = [CODE, SECRETS] if code else [SECRETS]
        port = None if release.function else release.stack.port
        return {
            "image": self._settings.saga_image,
            "command": ["run", release.name],
            "environment": self._environment(hosting, code=code),
            "labels": {
                "saga.system": self._system,
                "saga.stack": release.stack.service,
                "saga.kind": "function" if release.function else "adapter",
                "saga.name": release.name,
                "saga.version": release.version,
            },
            "network": self._system,
            "ports": {f"{port}/tcp": (self._settings.saga_host, port)} if port else {},
            "mounts": [Mount(target=path, source=None, type="volume") for path in volumes],
            "user": f"{USER}:{USER}",
            "read_only": True,
            "tmpfs": {"/tmp": "size=64m,mode=1777"},  # noqa: S108 - in the container
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges"],
            "mem_limit": _bytes(hosting.memory),
            "nano_cpus": int(hosting.cpu * 1e9) if hosting.cpu else None,
            "pids_limit": PROCESSES,
            "log_config": LogConfig(type="json-file", config={"max-size": "10m", "max-file": "3"}),
        }

    def _environment(self, hosting: Hosting, *, code: bool) -> dict[str, str]:
        """Pass on what is set of Kafka's settings, but no secrets: these are files."""
        settings = self._settings
        passed = {
            name.upper(): str(getattr(settings, name))
            for name in sorted(settings.model_fields_set)
            if name.startswith("kafka_") and not isinstance(getattr(settings, name), SecretStr)
        }
        passed |= {
            name.upper(): f"{SECRETS}/{name}" for name in FILES if name in settings.model_fields_set
        }
        runtime = {
            "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers or BROKER,
            "SAGA_LOG_LEVEL": settings.saga_log_level,
            **({"SAGA_CODE": CODE, "SAGA_STACKS": CODE} if code else {}),
        }
        return {**hosting.environment, **passed, **runtime}

    def _own_secrets(self, release: Release) -> dict[str, str]:
        """Return what the runtime itself must know and nobody else: by the settings' names."""
        settings = self._settings
        if settings.saga_database_url == Settings.model_fields["saga_database_url"].default:
            settings = settings.model_copy(update={"saga_database_url": SecretStr(DATABASE)})
        found = {"saga_database_url": settings.database_url(release.stack.database)}
        if settings.kafka_sasl_password is not None:
            found["kafka_sasl_password"] = settings.kafka_sasl_password.get_secret_value()
        for name in FILES:
            if path := getattr(settings, name):
                try:
                    found[name] = Path(path).read_text()
                except OSError as error:
                    raise SagaError(f"{name.upper()}: {error}") from None
        return found

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

    def _check_image(self) -> None:
        try:
            self._docker.images.get(self._settings.saga_image)
        except ImageNotFound:
            raise SagaError(
                f"image {self._settings.saga_image} is not on this engine: build it with "
                "`make image`, or set SAGA_IMAGE to another"
            ) from None

    def _check_name(self, name: str) -> None:
        try:
            self._docker.containers.get(self._container_name(name))
        except NotFound:
            return
        raise SagaError(
            f"there is a container {self._container_name(name)} that is not of the system "
            f"{self._system}: rename it, or choose another SAGA_SYSTEM"
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


def explain(error: Exception) -> str:
    """Say in one line what an engine's error means."""
    text = str(getattr(error, "explanation", None) or error).strip().replace("\n", " ")
    if "port is already allocated" in text or "address already in use" in text:
        return f"a port is taken on the engine's machine: {text}"
    if "no space left on device" in text:
        return f"the engine's disk is full: {text}"
    if not isinstance(error, APIError):
        address = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
        return f"no Docker engine answers at {address}: is it running? ({text})"
    return f"the Docker engine refused: {text}"


def _is_well(container: Container) -> bool:
    """Run the health check of the container's image in it."""
    check = container.attrs["Config"].get("Healthcheck", {}).get("Test", ["NONE"])
    if check[0] != "CMD":
        raise SagaError(f"image {container.attrs['Config']['Image']} has no health check")
    try:
        return bool(container.exec_run(check[1:]).exit_code == 0)
    except APIError:
        return False  # it has just ended; the next look tells


def _state(container: Container) -> State:
    health = container.attrs["State"].get("Health", {}).get("Status", "healthy")
    if container.status in STATES:
        return STATES[container.status]
    if health == "starting" and _is_well(container):
        return "ready"  # the engine looks only every few seconds
    return HEALTH.get(health, "ready")


def _instance(container: Container) -> Instance:
    labels = container.labels
    published = container.attrs["HostConfig"].get("PortBindings") or {}
    bindings = [binding for found in published.values() for binding in found]
    return Instance(
        name=_short_name(container),
        deployed=labels.get("saga.name", ""),
        kind=labels.get("saga.kind", ""),
        version=labels.get("saga.version", ""),
        state=_state(container),
        restarts=int(container.attrs.get("RestartCount", 0)),
        pid=container.attrs["State"].get("Pid") or None,
        port=int(bindings[0]["HostPort"]) if bindings else None,
        where=" ".join(f"http://{b['HostIp'] or '*'}:{b['HostPort']}" for b in bindings),
    )


def _short_name(container: Container) -> str:
    return str(container.name).removeprefix(f"{container.labels['saga.system']}-")


def _bytes(memory: str | None) -> int | None:
    return int(memory[:-1]) * GIB[memory[-1]] if memory else None


def _code_archive(files: Sequence[tuple[PurePosixPath, bytes]]) -> bytes:
    return _tar([(str(name), data, 0o644, 0) for name, data in files])


def _secrets_archive(secrets: dict[str, str]) -> bytes:
    return _tar([(name, value.encode(), 0o400, USER) for name, value in secrets.items()])


def _tar(files: Sequence[tuple[str, bytes, int, int]]) -> bytes:
    """Pack files, each with its mode and its owner; folders come by themselves."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data, mode, owner in files:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.uid, entry.gid = len(data), mode, owner, owner
            entry.mtime = int(time.time())
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()
