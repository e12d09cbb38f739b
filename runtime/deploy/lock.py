"""What a version runs on as a process: the installed distributions that it needs, one version each.

A lock is kept as a requirements file, named by its hash: `pip install -r` brings it back.
"""

import ast
import hashlib
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache, lru_cache
from importlib import metadata
from itertools import chain
from pathlib import PurePosixPath

from .artifact import Artifact, ArtifactError, contents
from .store import Store

RUNTIME = "saga-functions"
SHOWN_DIFFERENCES = 5

Lock = Mapping[str, str]  # a distribution's name -> its version
# A distribution's version and its requirements; None for one that is not installed.
Find = Callable[[str], tuple[str, Sequence[str]] | None]


class Locks:
    """The locks of this environment and those that a store keeps; calls raise `ArtifactError`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._here: dict[str, Lock] = {}  # by their hashes

    def digest(self, artifact: Artifact) -> str:
        """Return the hash of what an artifact would run on here.

        That is the runtime, what the artifact's modules import, and what these require.
        """
        lock = lock_here(tuple(imported_by(artifact)), tuple(sys.path))
        self._here[digest_of(lock)] = lock
        return digest_of(lock)

    def keep(self, digests: Iterable[str | None]) -> None:
        """Keep locks of here, unless they are there."""
        for digest in self._here.keys() & {*digests}:
            text = text_of(self._here[digest])
            if self._store.get(_key(digest)) != text:
                self._store.put(_key(digest), text)

    def check(self, what: str, old: str | None, here: str, instead: str) -> None:
        """Raise `ArtifactError` where it ran on other packages than are installed here.

        `old` is the lock that is known of it, if any is; `instead` says what else helps.
        """
        if old is not None and old != here:
            raise ArtifactError(
                f"{what} ran on other packages than are installed here: "
                f"{self.compared(old, here)}; install those again, or {instead}"
            )

    def compared(self, old: str, here: str) -> str:
        """Tell in which packages an earlier lock and one of here differ."""
        text = self._store.get(_key(old))
        if text is None or hashlib.sha256(text).hexdigest() != old:
            return "which those were is not known any more"
        return shortened(difference(lock_in(text), self._here[here]))


def imported_by(artifact: Artifact) -> list[str]:
    """List the packages that an artifact's modules import, without Python's and its own.

    Raises `ArtifactError` where a module is not of this Python.
    """
    files = contents(artifact)
    own = {name.parts[0].removesuffix(".py") for name, _ in files}
    found: set[str] = set()
    for name, data in files:
        if name.suffix == ".py":
            for node in ast.walk(_parsed(name, data)):
                if isinstance(node, ast.Import):
                    found |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    found.add(node.module.partition(".")[0])
    return sorted(found - own - sys.stdlib_module_names)


@lru_cache
def lock_here(modules: tuple[str, ...], path: tuple[str, ...]) -> Lock:
    """Make the lock of what imports these modules, from what is installed on Python's path.

    Kept, as is what is installed: what a process has imported stays as it was anyway.
    """
    owners, find = installed_on(path)
    known = chain.from_iterable(owners.get(module, ()) for module in modules)
    return needed([RUNTIME, *known], find)


@lru_cache
def installed_on(path: tuple[str, ...]) -> tuple[Mapping[str, list[str]], Find]:  # noqa: ARG001
    """Return the distributions of each package on Python's path, and what finds one of them."""
    return metadata.packages_distributions(), cache(find_installed)


def find_installed(name: str) -> tuple[str, Sequence[str]] | None:
    """Return a distribution's version and requirements, None if it is not installed."""
    # What a build has left in a folder of sources has no RECORD, and may be old.
    every = metadata.distributions(name=name)
    found = min(every, key=lambda one: one.read_text("RECORD") is None, default=None)
    if found is None:
        return None
    told = found.metadata  # which is read anew each time
    return told["Version"], told.get_all("Requires-Dist") or ()


def needed(roots: Iterable[str], find: Find) -> Lock:
    """List distributions with all that they require and is installed, by their names."""
    # Imported late: every command imports this module, and few make a lock.
    from packaging.utils import canonicalize_name

    lock: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    todo = [(str(canonicalize_name(name)), "") for name in roots]  # with one of its extras, or none
    while todo:
        name, extra = todo.pop()
        if (name, extra) in seen or (found := find(name)) is None:
            continue
        seen.add((name, extra))
        lock[name], requirements = found
        for requirement in requirements:
            todo += _required(requirement, extra)
    return dict(sorted(lock.items()))


def difference(old: Lock, new: Lock) -> list[str]:
    """Tell in which versions two locks differ: `stripe 11.0 -> 12.0`."""
    names = sorted({*old.items()} ^ {*new.items()})
    return [
        f"{name} {old.get(name, 'none')} -> {new.get(name, 'none')}"
        for name in dict.fromkeys(name for name, _ in names)
    ]


def shortened(differences: Collection[str]) -> str:
    """Put differences into one line, the first of them if there are many."""
    shown = [*differences][:SHOWN_DIFFERENCES]
    left = len(differences) - len(shown)
    return ", ".join(shown) + (f" and {left} more" if left else "")


def text_of(lock: Lock) -> bytes:
    """Write a lock as a requirements file."""
    return "".join(f"{name}=={version}\n" for name, version in lock.items()).encode()


def lock_in(text: bytes) -> Lock:
    """Read a lock."""
    lines = (line.partition("==") for line in text.decode().splitlines())
    return {name: version for name, _, version in lines}


def digest_of(lock: Lock) -> str:
    """Return a lock's SHA-256, in hexadecimal digits."""
    return hashlib.sha256(text_of(lock)).hexdigest()


def _parsed(name: PurePosixPath, data: bytes) -> ast.Module:
    try:
        return ast.parse(data)
    except (SyntaxError, ValueError) as error:
        raise ArtifactError(f"{name}: {error}") from error


@cache
def _required(text: str, extra: str) -> list[tuple[str, str]]:
    """Return what a requirement asks for here, of a distribution with one of its extras, or none.

    `psycopg[binary]>=3` asks for psycopg, and for that extra of it; what is no requirement, as
    very old distributions have some, for nothing.
    """
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    try:
        found = Requirement(text)
    except InvalidRequirement:
        return []
    if found.marker and not found.marker.evaluate({"extra": extra}):
        return []
    return [(canonicalize_name(found.name), wanted) for wanted in ("", *sorted(found.extras))]


def _key(digest: str) -> str:
    return f"locks/{digest}.txt"
