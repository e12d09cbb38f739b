"""Where a version comes from and what it runs on, beside its code: a commit, an image, a lock."""

import os
import subprocess
from pathlib import Path

from pydantic import BaseModel

from .artifact import Artifact

GIT_TIMEOUT = 10  # seconds


class Provenance(BaseModel, frozen=True):
    """What is known of a version's origin; None where nothing is.

    `dirty` says that some of the version's files are not as in the git `commit`; `image` is the id
    of the image of its containers, `lock` the hash of the packages of its processes.
    """

    commit: str | None = None
    dirty: bool | None = None
    image: str | None = None
    lock: str | None = None


def git_provenance(artifact: Artifact) -> Provenance:
    """Tell the commit that an artifact was just made of, and whether its files are as in that.

    The repository is the one around its package; the stack file may lie elsewhere.
    """
    files = artifact.files
    # The first is the stack file, the last may be a module that the package imports.
    folder = files[:2][-1].parent
    lines = _git(folder, "rev-parse", "--show-toplevel", "HEAD").splitlines()
    if len(lines) != 2:
        return Provenance()
    top, commit = lines
    places = [file.parent.resolve() / file.name for file in files]
    inside = [str(place) for place in places if place.is_relative_to(top)]
    if not inside:
        return Provenance()
    changed = _git(folder, "status", "--porcelain", "--ignored", "--", *inside)
    return Provenance(commit=commit, dirty=bool(changed))


def _git(folder: Path, *words: str) -> str:
    """Ask git, which changes nothing; nothing is known where it is not there or refuses."""
    command = ["git", "--no-optional-locks", "--literal-pathspecs", "-C", str(folder), *words]
    # A hook of git's that deploys has variables that lead to its own repository.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    try:
        done = subprocess.run(  # noqa: S603 - git, of the user's PATH
            command, env=environment, capture_output=True, timeout=GIT_TIMEOUT
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else ""
