"""Pin the jars of one version of Apache Kafka, for `make jars KAFKA=4.3.1`.

Run with the version, it prints what `runtime/kafka/jars.txt` holds: what Maven's rules bring along,
each with the SHA-256 sum of what Maven Central gives today.
"""

import hashlib
import sys
import tempfile
from pathlib import Path

from jgo.maven import Dependency, MavenContext

# Logs to standard error without a configuration file; of the version of Kafka's slf4j-api.
LOGGING = "org.slf4j:slf4j-simple:1.7.36"


def pinned(jar: Dependency) -> str:
    """Fetch a jar, and return its line."""
    content = jar.artifact.resolve().read_bytes()
    coordinates = f"{jar.groupId}:{jar.artifactId}:{jar.version}"
    return f"{coordinates} {hashlib.sha256(content).hexdigest()}"


def main(version: str) -> None:
    """Print a line for each jar, sorted."""
    with tempfile.TemporaryDirectory() as local:
        maven = MavenContext(repo_cache=Path(local))
        kafka = f"org.apache.kafka:kafka_2.13:{version}"
        wanted = [maven.create_dependency(name) for name in (kafka, LOGGING)]
        named, brought_along = maven.resolver.resolve(wanted)
        print(*sorted(pinned(jar) for jar in [*named, *brought_along]), sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
