"""Where the embedded broker listens, and when it does not start, or ends."""

import random
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from saga.runtime.errors import BrokerUnavailable
from saga.runtime.kafka import embedded
from saga.runtime.kafka.embedded import HOST, PORTS, free_port, start_embedded
from support.waiting import DEADLINE

FIRST_OF_CLIENTS = 32_768  # of Linux, unless it is told otherwise


def test_no_client_is_given_its_port() -> None:
    assert free_port() in PORTS
    assert max(PORTS) < FIRST_OF_CLIENTS


def test_a_taken_port_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server((HOST, free_port())) as taken:
        ports = iter([taken.getsockname()[1], free := free_port()])
        monkeypatch.setattr(random, "choice", lambda _: next(ports))
        assert free_port() == free


def start(folder: Path) -> "subprocess.Popen[bytes]":
    return start_embedded(free_port(), folder / "data", folder / "log")


@pytest.mark.parametrize("reason", ["go build: no such host", None])
def test_missing_broker_says_why_and_what_to_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str | None
) -> None:
    monkeypatch.setattr(embedded, "find_spec", lambda _: None)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    if reason is not None:
        (tmp_path / embedded.NOT_BUILT).write_text(f"{reason}\n")
    why = reason or "it is not installed"
    with pytest.raises(BrokerUnavailable) as refused:
        start(tmp_path)
    assert str(refused.value) == (
        f"no embedded broker: {why}; --broker kafka starts Apache Kafka, --broker HOST:PORT uses a "
        "broker that runs"
    )


def test_second_broker_on_the_same_data_is_refused(tmp_path: Path) -> None:
    first = start(tmp_path)
    try:
        with pytest.raises(BrokerUnavailable, match="ended at once"):
            start(tmp_path)
        assert "another broker, or nobody, can use" in (tmp_path / "log").read_text()
    finally:
        first.kill()
        first.wait()
    again = start(tmp_path)
    again.terminate()
    assert again.wait() == 0


def test_broker_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path\n"
        "from saga.runtime.kafka.embedded import free_port, start_embedded\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "print(start_embedded(free_port(), folder / 'data', folder / 'log').pid, flush=True)\n"
        "input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        broker = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    gone, _ = psutil.wait_procs([broker], timeout=DEADLINE)
    assert gone
