"""The health file: a process says in it that it does its work, and this script reads it.

It is run as a script, without site packages: a container's health check costs milliseconds then. A
function or saga touches its file as long as it is in its group and turns its loop; an adapter
writes its address into it, where it has to answer.
"""

import os
import sys
import time
from pathlib import Path

STALE_AFTER = 30.0  # seconds: longer than a batch takes
ANSWER_TIMEOUT = 5.0  # seconds


class HealthFile:
    """Written by the process that it speaks for; without a path it does nothing.

    `patience` is for how many seconds its work may keep it from saying so.
    """

    def __init__(self, path: Path | None, patience: float = 0.0) -> None:
        self._path = path
        self._patience = patience
        self.mark_unhealthy()

    def mark_healthy(self, address: str = "", again_in: float = 0.0) -> None:
        """Say that the work is being done, at an address where it can be asked for.

        Who says so less often than others tells in how many seconds it will say so again.
        """
        if self._path is not None:
            self._path.parent.mkdir(exist_ok=True)  # a cleaner may have been here
            self._path.write_text(address)
            then = time.time() + self._patience + again_in
            os.utime(self._path, (then, then))

    def mark_unhealthy(self) -> None:
        """Take it back."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def stands_still(path: Path) -> str | None:
    """Say that a loop turns no more, which no outage is a reason for; None where it does."""
    try:
        age = time.time() - path.stat().st_mtime
        return f"its loop stands still for {age:.0f} s" if age > STALE_AFTER else None
    except OSError:  # it waits to join its group
        return None


def unhealthy_because(path: Path) -> str | None:
    """Say what is wrong, None if all is well."""
    try:
        address = path.read_text()
    except OSError:
        return "not ready: it has not joined its group, or does not answer yet"
    if not address:
        return stands_still(path)
    import urllib.request  # takes longer to import than all the rest here

    try:
        directly = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with directly.open(address, timeout=ANSWER_TIMEOUT):
            return None
    except OSError as error:
        return f"{address} does not answer: {error}"


def main() -> None:
    """Exit with 0 if the process of SAGA_HEALTH does its work, else say why not and exit with 1."""
    if problem := unhealthy_because(Path(os.environ["SAGA_HEALTH"])):
        sys.exit(problem)


if __name__ == "__main__":
    main()
