"""Which versions were deployed, when and by whom: one record per deploy, of all that it replaced.

The records lie in the artifact store, so that everybody who deploys sees the same. A deploy is in
them whole or not at all; a record that can't be read is told, and stands in nobody's way.
"""

import getpass
import logging
import os
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from pydantic import TypeAdapter
from pydantic_core import from_json
from uuid_utils.compat import uuid7

from ..clock import utcnow
from .artifact import SHOWN, ArtifactError
from .provenance import Provenance
from .store import Store

FOLDER = "deploys/"
OLDER = "deployments/"  # in it SYSTEM/NAME/ with one of each function, of version 0.1
SHORTEST = 4  # digits of a version that a person may name
READERS = 8  # records read at a time: a bucket answers each after a while
LATEST = 200  # deploys among which the newest of one function are looked for

log = logging.getLogger(__name__)


class Deployment(Provenance, frozen=True):
    """One version of one function that got to work; `replaced` is what had run before.

    `system` is the one that it runs in, as `Settings.deployed_on` says it.
    """

    system: str
    name: str
    version: str
    replaced: str | None = None
    replaced_image: str | None = None
    at: datetime
    by: str

    @property
    def provenance(self) -> Provenance:
        """Where the version came from and what it ran on."""
        return Provenance(**self.model_dump(include=set(Provenance.model_fields)))


_RECORD = TypeAdapter(list[Deployment])


def deployment(
    system: str,
    name: str,
    version: str,
    replaced: str | None = None,
    replaced_image: str | None = None,
    provenance: Provenance = Provenance(),  # noqa: B008 - it can't be changed
) -> Deployment:
    """Describe a deployment of this moment, by this user."""
    return Deployment(
        system=system,
        name=name,
        version=version,
        replaced=replaced,
        replaced_image=replaced_image,
        at=utcnow(),
        by=f"{_user()}@{socket.gethostname()}",
        **provenance.model_dump(),
    )


def record(store: Store, made: Sequence[Deployment]) -> None:
    """Keep what one deploy has made."""
    if made:
        # A UUIDv7 begins with the time: keys in their order are deploys in theirs.
        store.put(f"{FOLDER}{uuid7()}.json", _RECORD.dump_json([*made], indent=1))


def deployments(store: Store, system: str, name: str | None = None) -> list[Deployment]:
    """List a system's deployments, or those of one function, the oldest first.

    Only of one function, those that version 0.1 has recorded are among them.
    """
    older = _all(store, f"{OLDER}{system}/{name}/") if name else []
    found = [*older, *all_deployments(store)]
    return [e for e in found if e.system == system and name in (None, e.name)]


def all_deployments(store: Store) -> list[Deployment]:
    """List the deployments of all systems that share the store, the oldest first."""
    return _all(store, FOLDER)


def newest(store: Store, system: str, name: str, most: int) -> list[Deployment]:
    """List the last deployments of one function, the newest first; of the latest deploys alone."""
    found = _records(store, store.keys(FOLDER)[-LATEST:])
    return [e for e in reversed(found) if (e.system, e.name) == (system, name)][:most]


def _all(store: Store, folder: str) -> list[Deployment]:
    return _records(store, store.keys(folder))


def _records(store: Store, keys: Sequence[str]) -> list[Deployment]:
    with ThreadPoolExecutor(READERS) as threads:
        found = zip(keys, threads.map(store.get, keys), strict=True)
        return [entry for key, data in found for entry in _read(key, data)]


def version_before(history: list[Deployment], running: str | None) -> str:
    """Return the version that had run before the one that runs now."""
    for entry in reversed(history):
        if entry.version == running and entry.replaced not in (None, running):
            return str(entry.replaced)
    raise ArtifactError("no earlier version is known: name one, as `saga deployments` lists them")


def version_named(history: list[Deployment], name: str) -> str:
    """Return the version that begins with some digits; raise `ArtifactError` unless it is one."""
    known = {v for entry in history for v in (entry.version, entry.replaced) if v is not None}
    found = [version for version in known if version.startswith(name.lower())]
    if len(found) != 1 or len(name) < SHORTEST:
        versions = ", ".join(sorted(version[:SHOWN] for version in known)) or "none"
        raise ArtifactError(f"{name}: not one version of this function; there are: {versions}")
    return found[0]


def run_somewhere(history: list[Deployment], name: str, digits: str) -> Deployment:
    """Return the last deployment, in whatever system, of the version that begins with some digits.

    A version is of a whole service: another function of it may have been deployed. Raises
    `ArtifactError` unless it is one version, of this service.
    """
    found = [e for e in history if e.version.startswith(digits.lower())]
    mine = [e for e in found if _service(e.name) == _service(name)]
    versions = sorted({entry.version for entry in mine})
    if len(digits) < SHORTEST:
        raise ArtifactError(f"{name}@{digits}: give {SHORTEST} digits of a version at least")
    if len(versions) > 1:
        shown = ", ".join(version[:SHOWN] for version in versions)
        raise ArtifactError(f"{name}@{digits}: {shown} begin so: give more digits")
    if mine:
        return next((e for e in reversed(mine) if e.name == name), mine[-1])
    if found:
        others = ", ".join(sorted({_service(entry.name) for entry in found}))
        raise ArtifactError(f"{name}@{digits}: that is a version of {others}, not of this service")
    raise ArtifactError(
        f"{name}@{digits}: no system that shares this artifact store has run it: set "
        "SAGA_ARTIFACTS to that of the system which has, for both"
    )


def _service(name: str) -> str:
    return name.partition(".")[0]


def provenance_of(history: list[Deployment], version: str) -> Provenance:
    """Return where a version came from and what it ran on, when it was last deployed.

    Of what was never deployed, as docker-compose's containers, the image may be known.
    """
    for entry in reversed(history):
        if entry.version == version:
            return entry.provenance
    images = [entry.replaced_image for entry in history if entry.replaced == version]
    return Provenance(image=images[-1] if images else None)


def _read(key: str, data: bytes | None) -> list[Deployment]:
    try:
        if key.startswith(OLDER):
            system = "/".join(key.split("/")[1:-2])
            return [Deployment(**{**from_json(data or b""), "system": system})]
        return _RECORD.validate_json(data or b"")
    except (ValueError, TypeError):
        log.warning("%s in the artifact store is no record that can be read: passed over", key)
        return []


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())  # a container's user may have no name
