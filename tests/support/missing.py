"""What a machine may be without: such tests are skipped, but fail in CI."""

import os
import shutil
from typing import NoReturn

import pytest

from saga.runtime.errors import BrokerUnavailable
from saga.runtime.kafka.apache import java_command


def missing(reason: str) -> NoReturn:
    """Skip the test for this reason; in CI, fail."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def need_programs(*names: str, packages: str) -> None:
    """Go on where these programs are on the path; the packages are Debian's that bring them."""
    if absent := [name for name in names if shutil.which(name) is None]:
        missing(f"missing: {', '.join(absent)} (apt-get install {packages})")


def need_kafka() -> None:
    """Go on where Apache Kafka can be fetched and run."""
    try:
        java_command()
    except BrokerUnavailable as reason:
        missing(str(reason))
