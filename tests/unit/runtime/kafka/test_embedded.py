"""Where the embedded broker listens."""

import random
import socket

import pytest

from saga.runtime.kafka.embedded import HOST, PORTS, free_port

FIRST_OF_CLIENTS = 32_768  # of Linux, unless it is told otherwise


def test_no_client_is_given_its_port() -> None:
    assert free_port() in PORTS
    assert max(PORTS) < FIRST_OF_CLIENTS


def test_a_taken_port_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server((HOST, free_port())) as taken:
        ports = iter([taken.getsockname()[1], free := free_port()])
        monkeypatch.setattr(random, "choice", lambda _: next(ports))
        assert free_port() == free
