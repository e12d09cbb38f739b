"""An artifact: a service's code and its stack file, in one zip whose hash is its version.

The zip is the same, to the byte, for the same files: sorted names, no dates, no compression.
"""

import ast
import hashlib
import io
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ..errors import SagaError
from ..system.code import STACK_FILE, module_file, module_name, package_folder
from ..system.stack import Stack, parse_stack
from .ignored import IGNORE_FILE, Ignored

LIMIT = 50_000_000  # bytes of all files together
FRESH = ".fresh-"  # begins the name of a version's folder while it is unpacked
UNPACKED = re.compile(rf"[0-9a-f]{{64}}|{re.escape(FRESH)}.*")
SHOWN = 12  # digits of a version, where people read it

# The image brings these; all else that is imported and is not installed goes into the artifact.
IMAGES_OWN = ("saga.runtime", "saga.stacks")
INSTALLED = {"site-packages", "dist-packages"}


class ArtifactError(SagaError):
    """An artifact can't be made, is not there, or is not what its version says."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A service's code at one version; `data` is the zip, `files` what it was just made of."""

    version: str
    data: bytes
    files: tuple[Path, ...] = field(default=(), compare=False, repr=False)


def version_of(data: bytes) -> str:
    """Return the version of a zip: its SHA-256, in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def bundle(stack_file: Path, stack: Stack) -> Artifact:
    """Pack a service: its stack file, its package, and what these import of the project.

    Left out are tests, hidden files, whatever else is `Ignored`, and what is installed: that is the
    image's. Raises `ArtifactError` when the package can't be found or is too large.
    """
    files = {PurePosixPath(STACK_FILE): stack_file, **_files(stack)}
    sizes = {file: file.stat().st_size for file in files.values()}
    if sum(sizes.values()) > LIMIT:
        largest = max(sizes, key=lambda file: sizes[file])
        raise ArtifactError(
            f"{stack.package}: {sum(sizes.values()):,} bytes, {LIMIT:,} at most; {largest} has "
            f"{sizes[largest]:,}: a line in {IGNORE_FILE} leaves it out"
        )
    return _pack(files)


def _pack(files: Mapping[PurePosixPath, Path]) -> Artifact:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(str(name))  # dated 1980, as zip counts from there
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, files[name].read_bytes())
    return Artifact(version_of(buffer.getvalue()), buffer.getvalue(), tuple(files.values()))


def unpack(artifact: Artifact, folder: Path) -> Path:
    """Unpack into a folder of the version's own below `folder`, unless it is whole; return it.

    Raises `ArtifactError` when the bytes are not those that the version stands for.
    """
    place = folder / artifact.version
    if is_whole(place):
        return place
    shutil.rmtree(place, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=folder, prefix=FRESH))
    try:
        for name, data in contents(artifact):
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            (fresh / name).write_bytes(data)
        fresh.chmod(0o755)
        fresh.rename(place)
    except OSError as error:
        if not place.exists():  # or else another process was faster
            raise ArtifactError(f"artifact not unpacked: {error}") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return place


def is_whole(place: Path) -> bool:
    """Tell whether an unpacked version is what its folder's name says."""
    # Without what Python keeps beside: it writes files there that are gone before they are read.
    found = [p for p in place.rglob("*") if p.is_file() and p.parent.name != "__pycache__"]
    files = {PurePosixPath(path.relative_to(place)): path for path in found}
    try:
        return _pack(files).version == place.name
    except OSError:  # of a file that the disk has lost
        return False


def remove_unpacked(folder: Path) -> None:
    """Remove the versions that were unpacked below a folder, and nothing else that is in it."""
    for path in folder.glob("*"):
        if UNPACKED.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)


def verify(artifact: Artifact) -> None:
    """Raise `ArtifactError` when the bytes are not those that the version stands for."""
    if version_of(artifact.data) != artifact.version:
        raise ArtifactError(f"artifact {artifact.version[:SHOWN]} is damaged: its hash is another")


def contents(artifact: Artifact) -> list[tuple[PurePosixPath, bytes]]:
    """List an artifact's files; raise `ArtifactError` when it is not what its version says."""
    verify(artifact)
    try:
        with zipfile.ZipFile(io.BytesIO(artifact.data)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > LIMIT:
                raise ArtifactError(f"artifact {artifact.version[:SHOWN]} is too large")
            found = [(PurePosixPath(name), archive.read(name)) for name in archive.namelist()]
    except zipfile.BadZipFile as error:
        raise ArtifactError(f"artifact {artifact.version[:SHOWN]}: {error}") from error
    if any(name.is_absolute() or ".." in name.parts for name, _ in found):
        raise ArtifactError(f"artifact {artifact.version[:SHOWN]} has files outside of itself")
    return found


def stack_of(artifact: Artifact) -> Stack:
    """Return the service that an artifact is of, as its stack file of that version says."""
    files = {str(name): data for name, data in contents(artifact)}
    if STACK_FILE not in files:
        raise ArtifactError(f"artifact {artifact.version[:SHOWN]} has no stack file")
    return parse_stack(files[STACK_FILE], f"artifact {artifact.version[:SHOWN]}")


def _files(stack: Stack) -> dict[PurePosixPath, Path]:
    folder = package_folder(stack.package)
    if folder is None:
        raise ArtifactError(f"there is no package {stack.package}: is its folder on PYTHONPATH?")
    base = PurePosixPath(*stack.package.split("."))
    ignored = Ignored(folder)
    found = {
        base / path.relative_to(folder): path
        for path in sorted(folder.rglob("*"))
        if not ignored.leaves_out(path)
    }
    todo = [stack.adapter, *_parents(stack.package)] if stack.adapter else _parents(stack.package)
    for name, path in list(found.items()):
        if path.suffix == ".py":
            todo += _imports(path, module_name(name))
    seen: set[str] = set()
    while todo:
        module = todo.pop()
        if module in seen:
            continue
        seen.add(module)
        file = module_file(module) if _may_be_ours(module) else None
        if file is None or file.suffix != ".py" or not _is_ours(module, file):
            continue
        if ignored.names(file):
            continue
        found[_archive_name(module, file)] = file
        todo += [*_parents(module), *_imports(file, module)]
    return found


def _may_be_ours(module: str) -> bool:
    """Tell it without a look inside of packages, for which Python would import them."""
    top = module.partition(".")[0]
    inside = (module == own or module.startswith(f"{own}.") for own in IMAGES_OWN)
    if top in sys.stdlib_module_names or any(inside):
        return False
    file = module_file(top)
    return file is None or _is_ours(module, file)


def _is_ours(module: str, file: Path) -> bool:
    return module.startswith("saga.") or INSTALLED.isdisjoint(file.parts)


def _archive_name(module: str, file: Path) -> PurePosixPath:
    path = PurePosixPath(*module.split("."))
    return path / "__init__.py" if file.name == "__init__.py" else path.with_suffix(".py")


def _parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def _imports(file: Path, module: str) -> Iterator[str]:
    """List what a module may import: `from a import b` may mean a module `a.b`, or a name in it."""
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    try:
        tree = ast.parse(file.read_bytes(), filename=str(file))
    except (SyntaxError, ValueError) as error:
        raise ArtifactError(f"{file}: {error}") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            around = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*(around if node.level else []), *filter(None, [node.module])])
            yield base
            # Asking for a.b.c would import a.b, which only a package takes without doing anything.
            if _may_be_ours(base) and package_folder(base) is not None:
                yield from (f"{base}.{alias.name}" for alias in node.names)
