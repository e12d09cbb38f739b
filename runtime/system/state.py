"""What a running system tells about itself: one file in its data directory, and one lock.

The supervisor writes, everybody else reads. The lock is held as long as the supervisor lives, so a
file left behind by a killed one is recognised.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import BaseModel

from ..address import web_address
from ..data_directory import claim
from ..errors import NotRunning, SagaError
from ..settings import Settings
from .process import ProcessInfo, end, is_removed_and_open
from .wanted import forget_wanted, read_record, replace_file

CODE = "code"  # the folder of unpacked versions in the data directory

# `is_locked` takes a shared lock for less than a millisecond: who comes upon that tries again.
HOLD_TIMEOUT = 0.1  # seconds
POLL = 0.005  # seconds


class AlreadyRunning(SagaError):
    """Another supervisor runs on this data directory, or another deploy is going on from it."""


class System(BaseModel):
    """The system as its supervisor saw it last.

    `folder` is the data directory's `identity`, `broker` the broker's address, `broker_kind` what
    `saga up --broker` was told, and `told` what it has to say of its start.
    """

    folder: tuple[int, int] | None = None
    broker: str
    broker_kind: str | None = None  # of a system that an earlier version has started
    stacks: Path
    processes: list[ProcessInfo]
    told: str = ""

    @property
    def ready(self) -> bool:
        """Whether every process does its work, but for those that can't be started."""
        return all(process.state == "ready" or process.problem for process in self.processes)

    @property
    def supervisor(self) -> ProcessInfo:
        """The supervisor."""
        return next(process for process in self.processes if process.kind == "supervisor")

    def port(self, name: str) -> int:
        """Return an adapter's port; raise `NotRunning` when there is no such adapter."""
        for process in self.processes:
            if process.kind == "adapter" and process.deployed == name and process.port:
                return process.port
        raise NotRunning(f"no adapter {name!r} in this system")

    def metrics_at(self, host: str) -> str | None:
        """Return the URL of its metrics, which are on `host`; None where none are served."""
        ports = [process.port for process in self.processes if process.kind == "metrics"]
        return f"{web_address(host, ports[0])}/metrics" if ports else None


def write_system(data: Path, system: System) -> None:
    """Replace the system file in one step, so that no reader sees half of it."""
    replace_file(_file(data), system.model_dump_json(indent=1).encode())


def read_system(data: Path) -> System:
    """Return the running system; raise `NotRunning` when none runs on this directory."""
    try:
        system = System.model_validate_json(_file(data).read_bytes())
    except (FileNotFoundError, ValueError):  # a power cut may leave half of a file
        system = None
    if system is None or not is_locked(data):
        raise NotRunning(f"no system runs on {data}: start one with `saga up`")
    return system


def with_its_stacks(settings: Settings) -> Settings:
    """Return settings with the stack files that the system which runs here was started with.

    They are left as they are where `SAGA_STACKS` is set, or no system runs on the data directory.
    """
    if "saga_stacks" in settings.model_fields_set:
        return settings
    try:
        stacks = read_system(settings.saga_data).stacks
    except NotRunning:
        return settings
    return settings.model_copy(update={"saga_stacks": stacks})


def is_published(data: Path) -> bool:
    """Tell whether the system file is there."""
    return _file(data).exists()


def forget_system(data: Path, *, for_good: bool = True) -> None:
    """Remove the system file; and what was wanted of the system, unless the next is to have it."""
    _file(data).unlink(missing_ok=True)
    if for_good:
        forget_wanted(data)


class Hold:
    """The hold of a data directory, which is lost when its lock file is removed or replaced."""

    def __init__(self, data: Path) -> None:
        self._data, self._lock = data, data / "lock"
        self._seen = {self._lock: identity(self._lock)}

    @property
    def lost(self) -> bool:
        """Whether the lock file is gone: others take the directory for nobody's."""
        return self._is_gone(self._lock)

    def check(self, databases: Iterable[Path]) -> None:
        """Raise `SagaError` where no command can find us any more, or a database is gone.

        Who has a database's file open would go on in the removed one, and who opens it later in
        another; so it is with the write-ahead log beside it, which is seen on Linux alone.
        """
        removed = "was removed under the running system, which has stopped"
        if self.lost:
            raise SagaError(f"{self._data} {removed}")
        for file in databases:
            if self._is_gone(file):
                raise SagaError(f"{file} {removed}: put a copy back, or `saga up` makes a new one")
            if self._is_taken(wal := file.with_name(f"{file.name}-wal")):
                raise SagaError(f"{wal} {removed}, so that what it held is in the database")

    def _is_taken(self, wal: Path) -> bool:
        """Tell whether a write-ahead log is gone that a process of ours still has.

        SQLite itself removes it when the last one has closed it.
        """
        return self._is_gone(wal) and is_removed_and_open(self._seen.pop(wal))

    def _is_gone(self, file: Path) -> bool:
        """Tell whether a file that was seen is there no longer, or is another one."""
        try:
            found = identity(file)
        except OSError:
            return file in self._seen
        return self._seen.setdefault(file, found) != found


@contextmanager
def lock_system(data: Path) -> Iterator[Hold]:
    """Hold the data directory; raise `AlreadyRunning` when somebody else does, or `NotOurs`."""
    claim(data)
    with _held(
        data / "lock",
        f"a system already runs on {data}: see `saga ps`, stop it with `saga down`, "
        "or choose another directory with --data",
    ):
        yield Hold(data)


@contextmanager
def changing(data: Path) -> Iterator[None]:
    """Be the only one who deploys from this data directory.

    Raises `AlreadyRunning` when somebody else does, or `NotOurs`.
    """
    claim(data)
    with _held(data / "deploy.lock", f"another deploy is going on from {data}: wait for its end"):
        yield


@contextmanager
def _held(path: Path, refusal: str) -> Iterator[None]:
    try:
        held = FileLock(path).acquire(HOLD_TIMEOUT, POLL)
    except Timeout:
        raise AlreadyRunning(refusal) from None
    with held:
        yield


def is_locked(data: Path) -> bool:
    """Tell whether a supervisor holds the data directory."""
    # filelock knows no shared lock: a look by it would be in the way of others who look, and would
    # need the right to write. Imported late: the command line is there where this module is not.
    import fcntl

    try:
        with (data / "lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True


def identity(path: Path) -> tuple[int, int]:
    """Return what tells a file or a folder from a copy of it: its device and inode."""
    found = path.stat()
    return found.st_dev, found.st_ino


def end_leftovers(data: Path) -> list[str]:
    """End what a killed supervisor may have left running; nothing of anybody else's is touched.

    To be called by the one who holds the data directory. Returns the names of what ran.
    """
    ended: list[ProcessInfo] = []
    with suppress(FileNotFoundError, ValueError):
        system = System.model_validate_json(_file(data).read_bytes())
        if system.folder == identity(data):
            ended = end([process for process in system.processes if process.kind != "supervisor"])
    forget_system(data, for_good=False)
    return [process.name for process in ended]


def has_leftovers(data: Path) -> bool:
    """Tell whether the system that ran on this data directory was not stopped by a person."""
    return (_file(data).exists() or read_record(data) is not None) and not is_locked(data)


def _file(data: Path) -> Path:
    return data / "system.json"
