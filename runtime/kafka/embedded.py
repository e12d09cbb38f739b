"""The embedded broker: kfake, which speaks Kafka's protocol, on loopback, with a data folder.

Its binary is a distribution of its own, built from `broker/`: the runtime works without it.
"""

import random
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

from ..errors import BrokerUnavailable
from ..polling import poll_until

HOST = "127.0.0.1"
# Below those that Linux gives to clients: while a broker is away, one of them would take its port,
# be it in trying to reach the broker.
PORTS = range(20_000, 32_000)
START_TIMEOUT = 30.0  # seconds; hundredths are usual
# What `requirements/install` leaves where it could not build the broker: the reason.
NOT_BUILT = "saga-functions-broker.failed"

Open = Callable[[Path], BinaryIO]


def append(log: Path) -> BinaryIO:
    """Open a log to add to it."""
    return log.open("ab")


def free_port() -> int:
    """Return a loopback port that was free a moment ago, and that no client is given meanwhile."""
    while True:
        port = random.choice(PORTS)  # noqa: S311 - no secret
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            return port


def listens(port: int) -> bool:
    """Tell whether somebody listens on a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def start_embedded(
    port: int, folder: Path, log: Path, opened: Open = append
) -> "subprocess.Popen[bytes]":
    """Start the broker on a loopback port and return once it answers.

    `folder` holds all that it keeps, for the next start too. It ends when this process does. Raises
    `BrokerUnavailable` when it is not installed or does not answer within `START_TIMEOUT`; its log
    then says why.
    """
    command = [_binary(), "-port", str(port), "-data", str(folder)]
    with opened(log) as output:
        process = subprocess.Popen(  # noqa: S603 - the binary comes with its package
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,  # Ctrl-C in the terminal is for the supervisor alone
        )
    try:
        _wait_until_it_answers(process, port, log)
    except BaseException:
        process.kill()
        process.wait()
        raise
    return process


def _binary() -> str:
    if find_spec("saga_functions_broker") is None:
        reason = Path(sys.prefix, NOT_BUILT)
        why = reason.read_text().strip() if reason.exists() else "it is not installed"
        raise BrokerUnavailable(
            f"no embedded broker: {why}; --broker kafka starts Apache Kafka, --broker HOST:PORT "
            "uses a broker that runs"
        )
    from saga_functions_broker import BINARY

    return str(BINARY)


def _wait_until_it_answers(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    def answers() -> bool:
        if process.poll() is not None:
            raise BrokerUnavailable(f"the embedded broker ended at once; see {log}")
        return listens(port)

    if not poll_until(answers, START_TIMEOUT, every=0.02):
        raise BrokerUnavailable(
            f"the embedded broker did not answer in {START_TIMEOUT:g} s; see {log}"
        )
