"""The target of processes: the supervisor of `saga up` starts and stops what is wanted of it."""

from collections.abc import Iterator, Sequence

from ..address import web_address
from ..errors import SagaError
from ..polling import wait_until
from ..settings import Settings
from ..system.log_reader import IsWanted, last_lines, log_file, read_logs
from ..system.process import ProcessInfo
from ..system.state import CODE, System, read_system
from ..system.wanted import Wanted, change_wanted, instance_name, parse_wanted, read_record
from .artifact import Artifact, unpack
from .first_versions import restore
from .target import LAST_LINES, Instance, NotHealthy, Release, instances_of, told

STOP_TIMEOUT = 20.0  # seconds: the supervisor kills what has not drained after ten
TAKE_NOTE = 20.0  # seconds that the supervisor, which may be starting a broker, has to notice


class Processes:
    """The processes of the system on a data directory; raises `NotRunning` when none runs there."""

    shares_ports = True  # of the supervisor, which listens for all of them

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._data = settings.saga_data
        read_system(self._data)

    def instances(self) -> list[Instance]:
        """List the processes, the supervisor's own and the broker's too."""
        running = read_system(self._data)
        wanted = self._wanted()
        return [
            _instance(process, wanted.get(process.name), running, self._settings)
            for process in running.processes
        ]

    def check(self, release: Release, numbers: Sequence[int]) -> None:
        """Look for an artifact; secrets are those of the supervisor, which may have others."""
        if numbers:
            _artifact(release)

    def rehearse(self, release: Release) -> str | None:  # noqa: ARG002
        """Return None: a process can't be had without its port."""
        return None

    def prepare(self, release: Release, number: int) -> None:
        """Do nothing: unpacking code takes no time."""

    def start(self, release: Release, number: int) -> str:
        """Want one more process, of code that is unpacked for it."""
        unpack(_artifact(release), self._data / CODE)
        name = instance_name(release.name, number)
        try:
            change_wanted(self._data, {name: _wanted(release)})
            wait_until(lambda: self._find(name) is not None, f"{name} was not started", TAKE_NOTE)
        except BaseException:
            change_wanted(self._data, {name: None})
            raise
        return name

    def is_ready(self, name: str) -> bool:
        """Look into the system file."""
        process = self._find(name)
        if process is not None and process.problem:
            raise NotHealthy(f"{name} can't be started: {process.problem}")
        if process is None or process.restarts or process.state == "restarting":
            raise NotHealthy(told(f"{name} has ended", self.last_lines(name)))
        return process.state == "ready"

    def keep(self, name: str) -> None:
        """Do nothing: the supervisor starts again what has ended."""

    def stop(self, names: Sequence[str]) -> None:
        """Want the processes no longer, and wait until they have drained."""
        change_wanted(self._data, dict.fromkeys(names))
        wait_until(lambda: not any(self._find(name) for name in names), "not stopped", STOP_TIMEOUT)

    def restore(self, instance: Instance) -> None:
        """Want the process again."""
        was = Wanted(
            deployed=instance.deployed, version=instance.version, generation=instance.generation
        )
        change_wanted(self._data, {instance.name: was})

    def remove(self, names: Sequence[str]) -> None:
        """Stop the processes; their logs stay."""
        self.stop(names)

    def last_lines(self, name: str) -> list[str]:
        """Read the end of the log."""
        return last_lines(log_file(self._data, name), LAST_LINES)

    def logs(self, is_wanted: IsWanted, *, follow: bool) -> Iterator[tuple[str, str]]:
        """Read the logs, and go on as lines and logs come."""
        return read_logs(self._data, is_wanted, follow=follow)

    def invoke(self, function: str, data: str, timeout: float) -> str:
        """Send the command from here, as the version that runs declares it."""
        from .invocation import invoke

        running = read_system(self._data)
        version = instances_of(self.instances(), function)[0].version
        settings = self._settings.on_broker(running.broker)
        restore(settings, version)
        code = self._data / CODE / version
        return invoke(settings.model_copy(update={"saga_code": code}), function, data, timeout)

    def _wanted(self) -> dict[str, Wanted]:
        """Return what is wanted, nothing before the first is, or where its record is damaged."""
        try:
            return parse_wanted(read_record(self._data) or b"{}")
        except ValueError:
            return {}

    def _find(self, name: str) -> ProcessInfo | None:
        processes = read_system(self._data).processes
        return next((process for process in processes if process.name == name), None)


def _artifact(release: Release) -> Artifact:
    if release.artifact is None:
        raise SagaError(f"{release.name}: a process runs no image, only versions")
    return release.artifact


def _wanted(release: Release) -> Wanted:
    return Wanted(
        deployed=release.name,
        version=release.version,
        generation=release.generation,
        replicas=release.replicas,
    )


def _instance(
    process: ProcessInfo, wanted: Wanted | None, running: System, settings: Settings
) -> Instance:
    where = process.topic or ""
    if process.problem:
        where = process.problem
    elif process.kind == "adapter":
        where = web_address(settings.saga_host, process.port)
    elif process.kind == "metrics":
        where = running.metrics_at(settings.saga_host) or ""
    elif process.kind == "broker":
        where = running.broker
    return Instance(
        name=process.name,
        deployed=process.deployed or process.name,
        kind=process.kind,
        version=process.version or "",
        generation=wanted.generation if wanted else "",
        state=process.state,
        restarts=process.restarts,
        pid=process.pid,
        port=process.port,
        where=where,
    )
