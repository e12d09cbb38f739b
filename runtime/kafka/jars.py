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
from ..secrets import without_logins
from ..settings import Settings

PINS = Path(__file__).with_name("jars.txt")
UNFINISHED = "unfinished-"

# A connection that is lost says OSError, as all errors of the HTTP client under jgo are.
RETRYING = tenacity.Retrying(
    retry=tenacity.retry_if_exception_type(OSError),
    stop=tenacity.stop_after_attempt(3),
    wait=tenacity.wait_random_exponential(multiplier=0.1, max=2.0),  # seconds
    reraise=True,
)


# How much is done, of how much.
Progress = Callable[[int, int], None]


class Jar(NamedTuple):
    """A jar, as it is pinned."""

    coordinates: str  # GROUP:ARTIFACT:VERSION
    sha256: str


def pinned_jars() -> list[Jar]:
    """Return what `jars.txt` pins."""
    return [Jar(*line.split()) for line in PINS.read_text().splitlines()]


def class_path(on_progress: Progress = lambda *_: None) -> str:
    """Return the class path of Kafka's jars, fetching them the first time.

    Raises `BrokerUnavailable` when they can't be had, or are not the pinned ones.
    """
    make_once(jars := jar_folder(), lambda fresh: _fetch(fresh, on_progress))
    return f"{jars}/*"


def jar_folder() -> Path:
    """Return where the jars are kept: per user, not per checkout, and per content of `jars.txt`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    pins = hashlib.sha256(PINS.read_bytes()).hexdigest()[:16]
    return Path(base).absolute() / "saga-functions" / "kafka" / pins


def make_once(path: Path, make: Callable[[Path], None]) -> None:
    """Make what the cache lacks, in a folder beside it: it is there as a whole, or not at all.

    Of several processes one makes it, and the others wait.
    """
    if path.exists():
        return
    cache = path.parent
    with FileLock(cache / "lock"):  # which makes the cache, too
        if path.exists():  # another process has made it while we waited for the lock
            return
        for left in cache.glob(f"{UNFINISHED}*"):  # by a process that was killed
            shutil.rmtree(left)
        with tempfile.TemporaryDirectory(dir=cache, prefix=UNFINISHED) as temporary:
            fresh = Path(temporary) / path.name
            make(fresh)
            fresh.rename(path)


def _fetch(folder: Path, on_progress: Progress) -> None:
    folder.mkdir()
    jars = pinned_jars()
    try:
        with ThreadPoolExecutor() as pool:
            fetched = pool.map(partial(RETRYING, _fetch_one, folder), jars)
            for done, _ in enumerate(fetched, start=1):
                on_progress(done, len(jars))
    except OSError as error:
        raise BrokerUnavailable(
            "Apache Kafka's jars can't be fetched: is there a network, or else a mirror in"
            " SAGA_MAVEN_REPOSITORY, a proxy in HTTPS_PROXY, or a machine to copy"
            f" {jar_folder().parent} from? ({without_logins(first_line(error))})"
        ) from None


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
        names_and_urls = {mirror: mirror} if mirror else None  # None: Maven Central
        maven = MavenContext(repo_cache=Path(local), remote_repos=names_and_urls)
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
