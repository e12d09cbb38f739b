"""Which versions of a function were deployed, when and by whom: one record per deployment.

The records lie in the artifact store, so that everybody who deploys sees the same.
"""

import getpass
import os
import re
import socket
from datetime import datetime

from pydantic import BaseModel, ValidationError
from uuid_utils.compat import uuid7

from ..clock import utcnow
from .artifact import SHOWN, ArtifactError
from .store import Store

SHORTEST = 4  # digits of a version that a person may name


class Deployment(BaseModel):
    """One version of one function that got to work; `replaced` is what had run before."""

    name: str
    version: str
    replaced: str | None = None
    at: datetime
    by: str


def record(store: Store, system: str, name: str, version: str, replaced: str | None) -> Deployment:
    """Keep a deployment of this moment, by this user."""
    by = f"{_user()}@{socket.gethostname()}"
    entry = Deployment(name=name, version=version, replaced=replaced, at=utcnow(), by=by)
    # A UUIDv7 begins with the time: keys in their order are deployments in theirs.
    key = f"{_folder(system, name)}{uuid7()}.json"
    store.put(key, entry.model_dump_json(indent=1).encode())
    return entry


def deployments(store: Store, system: str, name: str) -> list[Deployment]:
    """List a function's deployments, the oldest first."""
    found = ((key, store.get(key)) for key in store.keys(_folder(system, name)))
    return [_read(key, data) for key, data in found if data is not None]


def version_before(history: list[Deployment], running: str | None) -> str:
    """Return the version that had run before the one that runs now."""
    for entry in reversed(history):
        if entry.version == running and entry.replaced not in (None, running):
            return str(entry.replaced)
    raise ArtifactError("no earlier version is known: name one, as `saga deployments` lists them")


def version_named(history: list[Deployment], name: str) -> str:
    """Return the version that begins with some digits; raise `ArtifactError` unless it is one."""
    known = {v for entry in history for v in (entry.version, entry.replaced) if v is not None}
    found = [version for version in known if version.startswith(name)]
    if len(found) != 1 or len(name) < SHORTEST:
        versions = ", ".join(sorted(version[:SHOWN] for version in known)) or "none"
        raise ArtifactError(f"{name}: not one version of this function; there are: {versions}")
    return found[0]


def _read(key: str, data: bytes) -> Deployment:
    try:
        return Deployment.model_validate_json(data)
    except ValidationError:
        raise ArtifactError(f"{key} in the artifact store is damaged: remove it") from None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())  # a container's user may have no name


def _folder(system: str, name: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)?", name):
        raise ArtifactError(f"{name}: not a function, SERVICE.NAME, and not a service")
    return f"deployments/{system}/{name}/"
