"""Apache Kafka on the JVM: a single node in KRaft mode, on loopback, that keeps what it is given.

Maven fetches its jars once; later starts need Java alone. The settings are for a laptop and for
tests: a small heap, a quick start, one replica of everything.
"""

import ctypes
import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from filelock import FileLock

from ..errors import BrokerUnavailable
from ..polling import poll_until
from .embedded import HOST, free_port

POM = Path(__file__).with_name("pom.xml")
START_TIMEOUT = 180.0  # seconds; 2 are usual, 5 after a crash
FETCH_TIMEOUT = 300.0  # seconds that Maven has for 45 MB
OLDEST_JAVA = 17
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


def class_path() -> str:
    """Return the class path of Kafka's jars, fetching them with Maven the first time.

    They are kept per user, not per checkout, and per content of the pom.xml. Raises
    `BrokerUnavailable` when they can't be had.
    """
    jars = _cache() / _fingerprint()
    if not jars.exists():
        _fetch(jars)
    return f"{jars}/*"


def start_kafka(port: int, folder: Path, log: Path) -> "subprocess.Popen[bytes]":
    """Start a node on a loopback port and return once it answers as a broker.

    `folder` holds all that it keeps, for the next start too. Raises `BrokerUnavailable` when
    something is missing or it does not answer within `START_TIMEOUT`; its log then says why.
    """
    java = [_java(), *JVM_FLAGS, *_logging_flags(), "-cp", class_path()]
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder) as lock:
        (folder / "server.properties").write_text(_properties(port))
        if not (folder / RECORDS / "meta.properties").exists():
            _format(java, folder, log)
        process = _launch(java, folder, log, lock)
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


def _launch(java: list[str], folder: Path, log: Path, lock: int) -> "subprocess.Popen[bytes]":
    with log.open("ab") as output:
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


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).absolute() / "saga-functions" / "kafka"


def _fingerprint() -> str:
    return hashlib.sha256(POM.read_bytes()).hexdigest()[:16]


def _fetch(jars: Path) -> None:
    maven = _program("mvn", "Maven, to fetch its jars once: apt-get install maven")
    jars.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(jars.parent / "lock"):
        if jars.exists():  # another process has fetched them while we waited for the lock
            return
        with tempfile.TemporaryDirectory(dir=jars.parent) as temporary:
            fresh = Path(temporary) / "jars"
            _copy_dependencies(maven, fresh)
            fresh.rename(jars)


def _copy_dependencies(maven: str, folder: Path) -> None:
    command = [maven, "--batch-mode", "--quiet", "-Dstyle.color=never", "--file", str(POM)]
    command += ["dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
    try:
        done = subprocess.run(  # noqa: S603 - the program is Maven, the file is ours
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=FETCH_TIMEOUT
        )
    except subprocess.TimeoutExpired:
        raise BrokerUnavailable(
            f"Maven did not fetch Apache Kafka's jars in {FETCH_TIMEOUT:g} s"
        ) from None
    if done.returncode:
        lines = done.stdout.splitlines() or done.stderr.splitlines() or ["no reason given"]
        reason = lines[0].removeprefix("[ERROR] ")
        raise BrokerUnavailable(f"Maven can't fetch Apache Kafka's jars: {reason}")


def _program(name: str, needed: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise BrokerUnavailable(f"Apache Kafka needs {needed}")
    return path


def _java() -> str:
    needed = f"Java {OLDEST_JAVA} or newer: apt-get install openjdk-17-jre-headless"
    java = _program("java", needed)
    told = subprocess.run([java, "-version"], capture_output=True, text=True).stderr  # noqa: S603
    version = re.search(r'version "(\d+)', told)
    if version is None or int(version[1]) < OLDEST_JAVA:
        raise BrokerUnavailable(f"Apache Kafka needs {needed} ({java} is older)")
    return java


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


def _format(java: list[str], folder: Path, log: Path) -> None:
    """Make the folder a node's; harmless to repeat, as Kafka writes `meta.properties` last."""
    command = [*java, "kafka.tools.StorageTool", "format"]
    command += ["--cluster-id", CLUSTER_ID, "--config", "server.properties"]
    with log.open("ab") as output:
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
