"""The jars of Apache Kafka are fetched once, whole and as pinned, or not at all."""

import gc
import hashlib
import os
import re
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from saga.runtime.errors import BrokerUnavailable
from saga.runtime.kafka import jars
from support.ports import free_port

# jgo closes no answer that it does not want, or that breaks off.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

ONE, TWO = "org.example:one:1.0", "org.example.deep:two:2.0"
CONTENTS = {
    "/org/example/one/1.0/one-1.0.jar": b"first",
    "/org/example/deep/two/2.0/two-2.0.jar": b"second",
}


class Repository(ThreadingHTTPServer):
    """A Maven repository on loopback."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.files = dict(CONTENTS)
        self.asked: list[str] = []
        self.to_break = 0  # how many of the next jars break off

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    server: Repository

    def do_GET(self) -> None:
        content = self.server.files.get(self.path)
        if content is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self.server.asked.append(self.path)
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.server.to_break:
            self.server.to_break -= 1
            content = content[:2]
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    with Repository() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        monkeypatch.setenv("SAGA_MAVEN_REPOSITORY", server.url)
        yield server
        server.shutdown()
    gc.collect()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of our own, and two pinned jars."""
    pins = tmp_path / "jars.txt"
    sums = [hashlib.sha256(content).hexdigest() for content in CONTENTS.values()]
    pins.write_text(f"{ONE} {sums[0]}\n{TWO} {sums[1]}\n")
    monkeypatch.setattr(jars, "PINS", pins)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "saga-functions" / "kafka"


def fetched() -> dict[str, bytes]:
    folder, star = os.path.split(jars.class_path())
    assert star == "*"
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def refusal(cache: Path) -> str:
    """Fetch in vain, see that nothing is left, and return why."""
    with pytest.raises(BrokerUnavailable) as refused:
        jars.class_path()
    assert [path.name for path in cache.iterdir()] == ["lock"]
    return str(refused.value)


def test_jars_are_those_of_the_repository(repository: Repository) -> None:
    assert fetched() == {"one-1.0.jar": b"first", "two-2.0.jar": b"second"}


def test_jars_are_fetched_once(repository: Repository) -> None:
    first = fetched()
    repository.files.clear()
    assert fetched() == first


def test_those_who_start_together_fetch_once(repository: Repository) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert len({*pool.map(lambda _: jars.class_path(), range(4))}) == 1
    assert sorted(repository.asked) == sorted(CONTENTS)


def test_progress_is_told(repository: Repository) -> None:
    told: list[tuple[int, int]] = []
    jars.class_path(lambda *progress: told.append(progress))
    assert told == [(1, 2), (2, 2)]


def test_a_jar_that_breaks_off_is_fetched_again(repository: Repository) -> None:
    repository.to_break = 2
    assert fetched() == {"one-1.0.jar": b"first", "two-2.0.jar": b"second"}


def test_a_repository_that_always_breaks_off_is_one_clear_line(
    repository: Repository, cache: Path
) -> None:
    repository.to_break = 100
    assert refusal(cache).startswith("Apache Kafka's jars can't be fetched: is there a network")


@pytest.mark.parametrize("other", [b"secund", b"second, and more", b""])
def test_a_jar_that_is_not_the_pinned_one_is_refused(
    repository: Repository, cache: Path, other: bytes
) -> None:
    repository.files["/org/example/deep/two/2.0/two-2.0.jar"] = other
    found, pinned = (hashlib.sha256(content).hexdigest() for content in (other, b"second"))
    assert refusal(cache) == (
        f"{TWO} is not the jar that is pinned: its SHA-256 sum is {found}, not {pinned};"
        " does SAGA_MAVEN_REPOSITORY or a proxy change it?"
    )


def test_a_jar_that_is_not_there_is_one_clear_line(repository: Repository, cache: Path) -> None:
    del repository.files["/org/example/one/1.0/one-1.0.jar"]
    assert refusal(cache) == (
        f"Apache Kafka's jars can't be fetched: no {ONE} there;"
        " SAGA_MAVEN_REPOSITORY names the repository, instead of Maven Central"
    )


def test_without_network_it_says_what_to_do(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGA_MAVEN_REPOSITORY", f"http://127.0.0.1:{free_port()}")
    assert re.fullmatch(
        "Apache Kafka's jars can't be fetched: is there a network, or else a mirror in"
        rf" SAGA_MAVEN_REPOSITORY, a proxy in HTTPS_PROXY, or a machine to copy {cache} from\?"
        r" \(ConnectionError: .*refused.*\)",
        refusal(cache),
    )


def test_without_a_mirror_jars_are_those_of_maven_central(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SAGA_MAVEN_REPOSITORY")
    monkeypatch.setattr("jgo.maven._core.DEFAULT_REMOTE_REPOS", {"central": repository.url})
    assert fetched() == {"one-1.0.jar": b"first", "two-2.0.jar": b"second"}


def test_jars_are_kept_in_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert jars.jar_folder().parent == tmp_path / ".cache" / "saga-functions" / "kafka"


def test_jars_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", "near")
    assert jars.jar_folder().parent == tmp_path / "near" / "saga-functions" / "kafka"


def test_what_is_not_all_there_is_set_apart_in_the_cache(
    repository: Repository, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")  # it may be another file system
    names: list[list[str]] = []
    jars.class_path(lambda *_: names.append(sorted(path.name for path in cache.iterdir())))
    for lock, unfinished in names:
        assert (lock, unfinished.startswith("unfinished-")) == ("lock", True)


def test_what_a_killed_process_has_left_is_removed(repository: Repository, cache: Path) -> None:
    left = cache / "unfinished-left" / "jars"
    left.mkdir(parents=True)
    (left / "one-1.0.jar").write_bytes(b"fi")
    assert fetched()["one-1.0.jar"] == b"first"
    assert not left.parent.exists()


def test_a_missing_jgo_is_one_clear_line(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jgo.maven", None)
    assert refusal(cache) == (
        "Apache Kafka's jars are fetched by jgo: pip install 'saga-functions[kafka]'"
    )


def test_each_pin_is_a_release_with_a_sum_and_a_file_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jars, "PINS", Path(jars.__file__).with_name("jars.txt"))
    pinned = jars.pinned_jars()
    assert all(re.fullmatch(r"[\w.-]+:[\w.-]+:\d[\w.-]*", jar.coordinates) for jar in pinned)
    assert all(re.fullmatch("[0-9a-f]{64}", jar.sha256) for jar in pinned)
    assert len({jar.coordinates.split(":", 1)[1] for jar in pinned}) == len(pinned) == 46
