"""The command that runs Apache Kafka: with an archive of its classes where there can be one."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from saga.runtime.errors import BrokerUnavailable
from saga.runtime.kafka import apache
from saga.runtime.kafka.java import Java

JAVA = Java("/bin/java", 'openjdk version "25.0.2"')

Make = Callable[[Path], object]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(apache, "find_java", lambda: JAVA)
    monkeypatch.setattr(apache, "class_path", lambda _: "/jars/*")
    return tmp_path / "saga-functions" / "kafka"


@pytest.fixture
def archive_with(monkeypatch: pytest.MonkeyPatch) -> Callable[[Make], None]:
    def archive_with(make: Make) -> None:
        monkeypatch.setattr(apache, "_archive", lambda java, command, archive: make(archive))

    return archive_with


def fail(_: Path) -> None:
    raise BrokerUnavailable("Apache Kafka ended at once")


def test_a_node_takes_its_classes_from_an_archive(cache: Path, archive_with) -> None:
    archive_with(lambda archive: archive.write_text("classes"))
    java, archived, *rest = apache.java_command()
    [archive] = [path for path in cache.iterdir() if path.name != "lock"]
    assert (java, archived) == ("/bin/java", f"-XX:AOTCache={archive}")
    assert rest[-2:] == ["-cp", "/jars/*"]


def test_classes_are_archived_once(archive_with) -> None:
    archive_with(lambda archive: archive.write_text("classes"))
    command = apache.java_command()
    archive_with(fail)
    assert apache.java_command() == command


def test_another_java_archives_anew(archive_with, monkeypatch: pytest.MonkeyPatch) -> None:
    archive_with(lambda archive: archive.write_text("classes"))
    first = apache.java_command()
    monkeypatch.setattr(apache, "find_java", lambda: JAVA._replace(told='version "25.0.3"'))
    assert apache.java_command()[1] != first[1]


def test_archiving_is_told_as_progress(archive_with) -> None:
    archive_with(lambda archive: archive.touch())
    told: list[tuple[int, int]] = []
    apache.java_command(lambda *progress: told.append(progress))
    apache.java_command(lambda *progress: told.append(progress))
    assert told == [(0, 1)]


def test_a_node_does_without_where_java_archives_nothing(archive_with) -> None:
    archive_with(lambda archive: archive.touch())
    assert "AOT" not in " ".join(apache.java_command())
    archive_with(fail)
    assert "AOT" not in " ".join(apache.java_command())


def test_what_could_not_be_archived_is_tried_again(archive_with) -> None:
    archive_with(fail)
    assert "AOT" not in " ".join(apache.java_command())
    archive_with(lambda archive: archive.write_text("classes"))
    assert "AOT" in " ".join(apache.java_command())


# Stand-ins for a node: they are ready when they have said so.
ARCHIVES = "trap 'echo classes > \"$0\"; exit 143' TERM; echo ready; while :; do read -r _; done"
ENDS = "echo ready; exec cat"
HANGS = "echo half > \"$0\"; trap '' TERM; echo ready; while :; do read -r _; done"


@pytest.fixture
def archive_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Archive the classes of such a node, and return what is in the file then."""

    def archive_of(script: str) -> str:
        def start(java, port, folder, log, opened, more) -> "subprocess.Popen[bytes]":
            assert java == [
                "/bin/java",
                "-cp",
                "/jars/*",
            ]  # what formats its folder archives nothing
            assert more == [f"-XX:AOTCacheOutput={archive}"]
            node = subprocess.Popen(
                ["sh", "-c", script, archive], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            assert node.stdout.readline() == b"ready\n"
            started.append(node)
            return node

        monkeypatch.setattr(apache, "_start", start)
        apache._archive(JAVA, ["-cp", "/jars/*"], archive)
        return archive.read_text()

    started: list[subprocess.Popen[bytes]] = []
    archive = tmp_path / "archive"
    yield archive_of
    for node in started:
        assert node.returncode is not None
        node.stdin.close()
        node.stdout.close()


def test_a_node_that_is_stopped_archives_its_classes(archive_of) -> None:
    assert archive_of(ARCHIVES) == "classes\n"


def test_an_archive_is_empty_where_none_is_made(archive_of) -> None:
    assert archive_of(ENDS) == ""


def test_half_an_archive_is_none(archive_of, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apache, "ARCHIVE_TIMEOUT", 0.1)
    assert archive_of(HANGS) == ""
