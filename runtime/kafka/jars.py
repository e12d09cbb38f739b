"""The jars of Apache Kafka: which they are, how they are fetched, and where they are kept.

`jars.txt` pins each with its SHA-256 sum. jgo fetches them as Maven would, without Maven or Java.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import tenacity
from filelock import FileLock

from ..errors import BrokerUnavailable, first_line
from ..settings import Settings

PINS = Path(__file__).with_name("jars.txt")
AT_ONCE = 8  # jars; a few are large, most are waited for
TIMEOUT = 30  # seconds without a byte

# A connection that is lost says OSError, as all errors of the HTTP client under jgo are.
RETRYING = tenacity.Retrying(
    retry=tenacity.retry_if_exception_type(OSError),
    stop=tenacity.stop_after_attempt(3),
    wait=tenacity.wait_random_exponential(multiplier=0.1, max=2.0),  # seconds
    reraise=True,
)


class Jar(NamedTuple):
    """A jar, as it is pinned."""

    coordinates: str  # GROUP:ARTIFACT:VERSION
    sha256: str


def pinned_jars() -> list[Jar]:
    """Return what `jars.txt` pins."""
    return [Jar(*line.split()) for line in PINS.read_text().splitlines()]


def class_path(on_progress: Callable[[int, int], None] = lambda *_: None) -> str:
    """Return the class path of Kafka's jars, fetching them the first time.

    They are kept per user, not per checkout, and per content of `jars.txt`. `on_progress` is told
    how many of how many are fetched. Raises `BrokerUnavailable` when they can't be had, or are not
    the pinned ones.
    """
    jars = _cache() / hashlib.sha256(PINS.read_bytes()).hexdigest()[:16]
    if not jars.exists():
        _fetch_once(jars, on_progress)
    return f"{jars}/*"


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).absolute() / "saga-functions" / "kafka"


def _fetch_once(jars: Path, on_progress: Callable[[int, int], None]) -> None:
    cache = jars.parent
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / "lock"):
        if jars.exists():  # another process has fetched them while we waited for the lock
            return
        for left in cache.glob("fetching-*"):  # by a process that was killed
            shutil.rmtree(left)
        with tempfile.TemporaryDirectory(dir=cache, prefix="fetching-") as temporary:
            fresh = Path(temporary) / "jars"
            fresh.mkdir()
            try:
                _fetch(fresh, on_progress)
            except OSError as error:
                raise BrokerUnavailable(
                    "Apache Kafka's jars can't be fetched: is there a network, or else a mirror in"
                    " SAGA_MAVEN_REPOSITORY, a proxy in HTTPS_PROXY, or a machine to copy"
                    f" {cache} from? ({first_line(error)})"
                ) from None
            fresh.rename(jars)


def _fetch(folder: Path, on_progress: Callable[[int, int], None]) -> None:
    jars = pinned_jars()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        fetched = pool.map(partial(RETRYING, _fetch_one, folder), jars)
        for done, _ in enumerate(fetched, start=1):
            on_progress(done, len(jars))


def _fetch_one(folder: Path, jar: Jar) -> None:
    """Put a jar into the folder, once it is seen to be the pinned one."""
    try:
        from jgo.maven import MavenContext
    except ImportError:
        raise BrokerUnavailable(
            "Apache Kafka's jars are fetched by jgo: pip install 'saga-functions[kafka]'"
        ) from None
    mirror = Settings().saga_maven_repository
    # Each try has a folder of its own: jgo would take what a broken one has left for the jar.
    with tempfile.TemporaryDirectory(dir=folder.parent) as local:
        maven = MavenContext(
            repo_cache=Path(local),
            remote_repos={"mirror": mirror} if mirror else None,
            timeout=TIMEOUT,
        )
        try:
            file = maven.create_dependency(jar.coordinates).artifact.resolve()
        except RuntimeError:
            raise BrokerUnavailable(
                f"Apache Kafka's jars can't be fetched: no {jar.coordinates} there;"
                " SAGA_MAVEN_REPOSITORY names the repository, instead of Maven Central"
            ) from None
        with file.open("rb") as content:
            found = hashlib.file_digest(content, "sha256").hexdigest()
        if found != jar.sha256:
            raise BrokerUnavailable(
                f"{jar.coordinates} is not the jar that is pinned: its SHA-256 sum is {found},"
                f" not {jar.sha256}; does SAGA_MAVEN_REPOSITORY or a proxy change it?"
            )
        file.rename(folder / file.name)
