"""What a container is, as its engine tells."""

from datetime import datetime

from docker.errors import APIError
from docker.models.containers import Container

from ..address import in_url
from ..errors import SagaError
from .container import GENERATION
from .target import Instance, State

STATES: dict[str, State] = {
    "created": "starting",
    "restarting": "restarting",
    "exited": "stopped",
    "dead": "stopped",
    "removing": "stopping",
    "paused": "unhealthy",
}
HEALTH: dict[str, State] = {"starting": "starting", "unhealthy": "unhealthy"}


def is_healthy(container: Container) -> bool:
    """Run the health check of the container's image in it."""
    check = container.attrs["Config"].get("Healthcheck", {}).get("Test", ["NONE"])
    if check[0] != "CMD":
        raise SagaError(f"image {container.attrs['Config']['Image']} has no health check")
    try:
        return bool(container.exec_run(check[1:]).exit_code == 0)
    except APIError:
        return False  # it has just ended; the next look tells


def why(container: Container) -> str:
    """Say why a container has ended, in words to go on with."""
    state = container.attrs["State"]
    if state.get("OOMKilled"):
        return ": it needed more memory than its limit"
    return f" with exit code {state.get('ExitCode')}"


def _state(container: Container) -> State:
    health = container.attrs["State"].get("Health", {}).get("Status", "healthy")
    if container.status in STATES:
        return STATES[container.status]
    if health == "starting" and is_healthy(container):
        return "ready"  # the engine looks only every few seconds
    return HEALTH.get(health, "ready")


def to_instance(container: Container) -> Instance:
    """Describe a container of the system's."""
    labels = container.labels
    published = container.attrs["HostConfig"].get("PortBindings") or {}
    bindings = [binding for found in published.values() for binding in found]
    return Instance(
        name=short_name(container),
        deployed=labels.get("saga.name", ""),
        kind=labels.get("saga.kind", ""),
        version=labels.get("saga.version", ""),
        state=_state(container),
        restarts=int(container.attrs.get("RestartCount", 0)),
        pid=container.attrs["State"].get("Pid") or None,
        port=int(bindings[0]["HostPort"]) if bindings else None,
        where=" ".join(f"http://{in_url(b['HostIp'] or '*')}:{b['HostPort']}" for b in bindings),
        image=container.attrs["Image"],
        generation=labels.get(GENERATION, ""),
    )


def ended_at(container: Container) -> float:
    """Return when a container that was started again has ended before, in seconds since 1970."""
    whole, _, fraction = container.attrs["State"]["FinishedAt"].rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{fraction or 0}")


def short_name(container: Container) -> str:
    """Return an instance's name."""
    return str(container.name).removeprefix(f"{container.labels['saga.system']}-")
