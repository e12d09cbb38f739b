"""What is to run on a data directory: who deploys says so, and the supervisor sees to it."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, TypeAdapter

from ..errors import NotRunning, SagaError


class Wanted(BaseModel):
    """An instance that is to run: of what, in which version.

    It is of the same `generation` as those that one deploy has started with it, or a person later
    beside it. There were to be so many `replicas` with it when it was started.
    """

    deployed: str
    version: str
    generation: str = ""
    replicas: int = 1


def instance_name(deployed: str, number: int) -> str:
    """Name an instance: `order.create_order`, `order.create_order-2` and so on."""
    return deployed if number == 1 else f"{deployed}-{number}"


def versions_of(wanted: Iterable[Wanted]) -> dict[str, set[str]]:
    """List the versions of what is deployed, by its name: two, while one replaces the other."""
    versions: dict[str, set[str]] = {}
    for one in wanted:
        versions.setdefault(one.deployed, set()).add(one.version)
    return versions


_WANTED = TypeAdapter(dict[str, Wanted])


def read_wanted(data: Path) -> dict[str, Wanted]:
    """Return the instances that are wanted, by their names; raise `NotRunning` in no system."""
    record = read_record(data)
    if record is None:
        raise NotRunning(f"no system runs on {data}: start one with `saga up`")
    try:
        return parse_wanted(record)
    except ValueError:
        raise SagaError(f"{_wanted(data)} is damaged: `saga down` and `saga up` help") from None


def parse_wanted(record: bytes) -> dict[str, Wanted]:
    """Read what `write_wanted` has written; raise `ValueError` where it is damaged."""
    return _WANTED.validate_json(record)


def read_record(data: Path) -> bytes | None:
    """Return what was wanted last, None where nobody has asked, or it was forgotten."""
    try:
        return _wanted(data).read_bytes()
    except FileNotFoundError:
        return None


def write_wanted(data: Path, wanted: Mapping[str, Wanted]) -> None:
    """Say which instances are wanted; the supervisor starts and stops what differs.

    It is on the disk when this returns: the next start may come after a power cut.
    """
    replace_file(_wanted(data), _WANTED.dump_json(dict(wanted), indent=1), synced=True)


def change_wanted(data: Path, changes: Mapping[str, Wanted | None]) -> None:
    """Say that instances are wanted, or (None) no longer; raise `NotRunning` in no system.

    What is forgotten meanwhile does not come back.
    """
    with _alone(data):
        wanted = {**read_wanted(data), **changes}
        write_wanted(data, {name: one for name, one in wanted.items() if one is not None})


def wanted_changed_at(data: Path) -> tuple[int, int] | None:
    """Return what `write_wanted` changes with every call, None if the file is gone."""
    try:
        found = _wanted(data).stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_ino  # two calls may come within one tick of the clock


def forget_wanted(data: Path) -> None:
    """Say that nothing is wanted of a system any more, or of none."""
    with _alone(data):
        _wanted(data).unlink(missing_ok=True)


def replace_file(path: Path, text: bytes, *, synced: bool = False) -> None:
    """Replace a file in one step, so that no reader sees half of it; `synced` to the disk first."""
    fresh = path.with_suffix(f".{os.getpid()}")
    with fresh.open("wb") as file:
        file.write(text)
        if synced:
            file.flush()
            os.fsync(file.fileno())
    fresh.replace(path)


@contextmanager
def _alone(data: Path) -> Iterator[None]:
    """Be the only one who changes what is wanted, by a lock on the folder itself."""
    import fcntl

    folder = os.open(data, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _wanted(data: Path) -> Path:
    return data / "wanted.json"
