"""Apache Kafka on the JVM: a single node in KRaft mode, on loopback, that keeps what it is given.

The settings are for a laptop and for tests: a small heap, a quick start, one replica of everything.
"""

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from ..errors import BrokerUnavailable
from ..polling import poll_until
from .embedded import HOST, Open, append, free_port
from .jars import Progress, class_path, jar_folder, make_once
from .java import Java, find_java

START_TIMEOUT = 180.0  # seconds; 2 are usual, 5 after a crash
ARCHIVE_TIMEOUT = 60.0  # seconds to stop, and archive what was loaded; 5 are usual
CLUSTER_ID = "saga-functions-cluster"  # Kafka wants 22 characters of base64
PR_SET_PDEATHSIG = 1  # prctl(2)
RECORDS = "records"  # the folder of topics and offsets, below the node's own

# The C1 compiler alone starts Kafka in half of the time.
JVM_FLAGS = ["-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
LOGGING = {
    "defaultLogLevel": "warn",
    "showDateTime": "true",
    "dateTimeFormat": "yyyy-MM-dd HH:mm:ss,SSS",
}

# Paths are relative to the working directory: a properties file takes no comma and no umlaut.
# A crashed node is let in again when its old session has run out, hence the short one. The buffer
# of the log cleaner, 128 MB by default, is most of what an idle node would hold.
PROPERTIES = """\
process.roles=broker,controller
node.id=1
listeners=BROKER://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=BROKER://{host}:{port}
listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=BROKER
controller.listener.names=CONTROLLER
controller.quorum.voters=1@{host}:{controller_port}
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500

log.dirs={records}
auto.create.topics.enable=false
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.cleaner.dedupe.buffer.size=2097152

group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
"""


def start_kafka(
    port: int, folder: Path, log: Path, opened: Open = append
) -> "subprocess.Popen[bytes]":
    """Start a node on a loopback port and return once it answers as a broker.

    `folder` holds all that it keeps, for the next start too. Raises `BrokerUnavailable` when
    something is missing or it does not answer within `START_TIMEOUT`; its log then says why.
    """
    return _start(java_command(), port, folder, log, opened)


def java_command(on_progress: Progress = lambda *_: None) -> list[str]:
    """Return the command that runs a class of Kafka's, once what it needs is there.

    The first time, its jars are fetched and its classes archived. Raises `BrokerUnavailable` when
    something can't be had.
    """
    java = find_java()
    command = [*JVM_FLAGS, *_logging_flags(), "-cp", class_path(on_progress)]
    archive = jar_folder().with_name(f"{jar_folder().name}-{java.fingerprint}")
    if not archive.exists():
        on_progress(0, 1)
        # It would have been quicker with one; if it can't do without, its own start tells.
        with suppress(BrokerUnavailable):
            make_once(archive, lambda fresh: _archive(java, command, fresh))
    is_of_use = archive.exists() and archive.stat().st_size
    return [java.path, *(java.using(archive) if is_of_use else []), *command]


def _archive(java: Java, command: list[str], archive: Path) -> None:
    """Start a node and stop it again, which archives the classes that it has loaded.

    With them, the next one starts in little more than half of the time. Where Java archives
    nothing, the file stays empty, and it is not tried again.
    """
    folder = archive.parent
    node, archiving = [java.path, *command], java.archiving(archive)
    process = _start(node, free_port(), folder / "node", folder / "log", append, archiving)
    process.terminate()
    try:
        process.wait(ARCHIVE_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        archive.unlink(missing_ok=True)
    archive.touch()


def _start(
    java: list[str],
    port: int,
    folder: Path,
    log: Path,
    opened: Open,
    more: Sequence[str] = (),
) -> "subprocess.Popen[bytes]":
    """Start a node, with `more` flags that are not for what formats its folder before."""
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder) as lock:
        (folder / "server.properties").write_text(_properties(port))
        if not (folder / RECORDS / "meta.properties").exists():
            _format(java, folder, log, opened)
        with opened(log) as output:
            process = _launch([*java, *more], folder, output, lock)
    try:
        _wait_until_it_answers(process, port, log)
    except BaseException:
        process.kill()
        process.wait()
        raise
    return process


@contextmanager
def _locked(folder: Path) -> Iterator[int]:
    """Hold the folder for as long as any process has the descriptor open.

    Kafka's own lock comes too late: a second node would have spoilt the metadata of the first.
    """
    # Not filelock's: the node inherits this descriptor, and with it the lock, when we are killed.
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BrokerUnavailable(f"another Apache Kafka runs on {folder}") from None
        yield lock.fileno()


def _launch(
    java: list[str], folder: Path, output: BinaryIO, lock: int
) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(  # noqa: S603 - the program is Java, the jars are pinned
        [*java, "kafka.Kafka", "server.properties"],
        cwd=folder,
        env=_environment(),
        pass_fds=[lock],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        process_group=0,  # Ctrl-C in the terminal is for the supervisor alone
        preexec_fn=_die_with_parent if sys.platform == "linux" else None,
    )


def _logging_flags() -> list[str]:
    return [f"-Dorg.slf4j.simpleLogger.{name}={value}" for name, value in LOGGING.items()]


def _environment() -> dict[str, str]:
    # Under LC_ALL=C, Java finds no folder with an umlaut in its path.
    return {**os.environ, "LC_ALL": "C.UTF-8"}


def _properties(port: int) -> str:
    controller_port = free_port()
    while controller_port == port:
        controller_port = free_port()
    return PROPERTIES.format(host=HOST, port=port, controller_port=controller_port, records=RECORDS)


def _format(java: list[str], folder: Path, log: Path, opened: Open) -> None:
    """Make the folder a node's; harmless to repeat, as Kafka writes `meta.properties` last."""
    command = [*java, "kafka.tools.StorageTool", "format"]
    command += ["--cluster-id", CLUSTER_ID, "--config", "server.properties"]
    with opened(log) as output:
        done = subprocess.run(  # noqa: S603 - as in _launch
            command,
            cwd=folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    if done.returncode:
        raise BrokerUnavailable(f"Apache Kafka can't use {folder}; see {log}")


def _wait_until_it_answers(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    # Its port is open long before the node has become a broker: only metadata tells.
    admin = AdminClient(
        {
            "bootstrap.servers": f"{HOST}:{port}",
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 50,
            "log_level": 0,
        }
    )

    def answers() -> bool:
        if process.poll() is not None:
            raise BrokerUnavailable(f"Apache Kafka ended at once; see {log}")
        try:
            return bool(admin.list_topics(timeout=0.5).brokers)
        except KafkaException:
            return False

    if not poll_until(answers, START_TIMEOUT):
        raise BrokerUnavailable(f"Apache Kafka did not answer in {START_TIMEOUT:g} s; see {log}")


def _die_with_parent() -> None:
    """Ask Linux to kill this process when the one that started it has ended."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
