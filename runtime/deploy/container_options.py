"""What a container is given: its limits, its environment, and files with its code and secrets."""

import io
import os
import tarfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from docker.types import LogConfig, Mount
from pydantic import SecretStr

from ..errors import SagaError
from ..secrets import read_secrets
from ..settings import Settings
from .artifact import Artifact, contents
from .container import (
    BROKER,
    DATABASE,
    GENERATION,
    LOG_DRIVER,
    LOG_ROTATION,
    USER,
    Container,
    container_for,
    labels,
)
from .target import Release

CODE, SECRETS = "/code", "/run/secrets"

FILES = ("kafka_ssl_ca_location", "kafka_ssl_certificate_location", "kafka_ssl_key_location")


def options(settings: Settings, release: Release, more_labels: Mapping[str, str]) -> dict[str, Any]:
    """Return what the engine's client is to create a container with; nothing secret is in it."""
    resources = release.stack.resources(release.entry)
    volumes = [SECRETS] if release.artifact is None else [CODE, SECRETS]
    port = None if release.entry else release.stack.port
    return {
        "image": release.provenance.image or settings.saga_image,
        "command": ["run", release.name],
        "environment": {**resources.environment, **_environment(settings, release)},
        "labels": {
            **labels(
                release.stack, release.name, system=settings.saga_system, version=release.version
            ),
            **({GENERATION: release.generation} if release.generation else {}),
            **more_labels,
        },
        "network": settings.saga_system,
        "ports": {f"{port}/tcp": (settings.saga_host, port)} if port else {},
        "mounts": [
            Mount(target=path, source=None, type="volume", labels=volume_labels(settings))
            for path in volumes
        ],
        "user": f"{USER}:{USER}",
        **_limits(container_for(resources)),
    }


def volume_labels(settings: Settings) -> dict[str, str]:
    """Return the labels of all volumes that come and go with the containers of a system."""
    return {"saga.system": settings.saga_system, "saga.kind": "deployed"}


def _limits(container: Container) -> dict[str, Any]:
    """Render a container's limits and hardening in the words of the engine's client."""
    return {
        "read_only": container.is_read_only,
        "tmpfs": dict(container.tmpfs),
        "cap_drop": [] if container.has_capabilities else ["ALL"],
        "security_opt": ["no-new-privileges"],
        "pids_limit": container.processes,
        "mem_limit": container.memory,
        "nano_cpus": int(container.cpus * 1e9) if container.cpus else None,
        "log_config": LogConfig(type=LOG_DRIVER, config=LOG_ROTATION),
    }


def secrets(settings: Settings, release: Release) -> dict[str, str]:
    """Return the files of a container's secrets folder: the handler's, and the runtime's own.

    Raises `StackError` when a secret is missing, and `SagaError` when a file can't be read.
    """
    found = read_secrets(release.stack.resources(release.entry).secrets)
    if settings.saga_database_url == Settings.model_fields["saga_database_url"].default:
        settings = settings.model_copy(update={"saga_database_url": SecretStr(DATABASE)})
    found["saga_database_url"] = settings.database_url(release.stack.database)
    if settings.kafka_sasl_password is not None:
        found["kafka_sasl_password"] = settings.kafka_sasl_password.get_secret_value()
    for name in FILES:
        if path := getattr(settings, name):
            try:
                found[name] = Path(path).read_text()
            except OSError as error:
                raise SagaError(f"{name.upper()}: {error}") from None
    return found


def code_archive(artifact: Artifact) -> bytes:
    """Pack an artifact's files for its container, where nobody may change them."""
    return _tar([(str(name), data, 0o644, 0) for name, data in contents(artifact)])


def secrets_archive(files: dict[str, str]) -> bytes:
    """Pack secrets for their container, whose user alone may read them."""
    return _tar([(name, value.encode(), 0o400, USER) for name, value in files.items()])


def _environment(settings: Settings, release: Release) -> dict[str, str]:
    """Return the runtime's own variables: those of Kafka, console and traces, and the files."""
    passed = {
        name.upper(): f"{SECRETS}/{name}" if name in FILES else str(getattr(settings, name))
        for name in sorted(settings.model_fields_set)
        if name.startswith(("kafka_", "saga_console", "saga_hosts"))
        and not isinstance(getattr(settings, name), SecretStr)
    }
    # Headers may hold a key, and what is set here is shown to whoever asks the engine.
    traces = {n: v for n, v in os.environ.items() if n.startswith("OTEL_") and "HEADERS" not in n}
    return {
        **passed,
        **traces,
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers or BROKER,
        "SAGA_LOG_LEVEL": settings.saga_log_level,
        "SAGA_METRICS_PORT": str(settings.saga_metrics_port),
        "SAGA_LOG_FORMAT": settings.saga_log_format,
        "SAGA_ACCESS_LOG": str(settings.saga_access_log).lower(),
        "SAGA_VERSION": release.version,
        "SAGA_REPLICAS": str(release.replicas),
        **({} if release.artifact is None else {"SAGA_CODE": CODE, "SAGA_STACKS": CODE}),
    }


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
