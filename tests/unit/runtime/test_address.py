"""Where a server may listen, how it is reached, and how that is written."""

import socket

import pytest

from saga.runtime.address import (
    check_brokers,
    checked_host,
    in_url,
    listen,
    reached_at,
    web_address,
)


@pytest.mark.parametrize(
    ("host", "bare", "url"),
    [
        ("127.0.0.1", "127.0.0.1", "http://127.0.0.1:80"),
        ("192.168.1.5", "192.168.1.5", "http://192.168.1.5:80"),
        ("0.0.0.0", "0.0.0.0", "http://127.0.0.1:80"),
        ("::", "::", "http://[::1]:80"),
        ("[::]", "::", "http://[::1]:80"),
        ("0:0:0:0:0:0:0:0", "0:0:0:0:0:0:0:0", "http://[::1]:80"),
        ("::1", "::1", "http://[::1]:80"),
        ("[fd00::2]", "fd00::2", "http://[fd00::2]:80"),
        ("localhost", "localhost", "http://localhost:80"),
        ("shop-1.example.org", "shop-1.example.org", "http://shop-1.example.org:80"),
    ],
)
def test_host_is_read_and_written_in_a_url(host, bare, url):
    assert checked_host(host) == bare
    assert web_address(bare, 80) == url


@pytest.mark.parametrize(
    "host", ["127.0.0.1:80", "[::1]:80", "[127.0.0.1", "http://a", "two words", "-a", "a/b", ""]
)
def test_host_may_not_be(host):
    with pytest.raises(ValueError, match="is neither an IP address nor a host's name"):
        checked_host(host)


def test_host_that_is_not_this_machine_is_reached_as_it_is():
    assert (reached_at("example.org"), in_url("*")) == ("example.org", "*")


FAMILIES = [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)]


@pytest.mark.parametrize(("host", "family"), FAMILIES)
def test_port_that_another_listens_on_can_not_be_had(host, family):
    with socket.create_server((host, 0), family=family) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            listen(host, port)
    with listen(host, port) as had, pytest.raises(OSError, match="in use"):
        assert listen(*had.getsockname()[:2])


def test_port_that_another_would_share_can_not_be_had():
    taken = socket.create_server(("127.0.0.1", 0), reuse_port=True)
    with taken, pytest.raises(OSError, match="in use"):
        listen(*taken.getsockname())


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_all_addresses_of_the_machine_are_listened_on(host):
    with listen(host, 0) as had:
        socket.create_connection(("127.0.0.1", had.getsockname()[1])).close()


@pytest.mark.parametrize(
    "servers",
    [
        "localhost:9092",
        "127.0.0.1:1",
        "[::1]:9092",
        "SASL_SSL://localhost:9",
        "localhost:1, no.invalid:2",
    ],
)
def test_broker_may_be(servers):
    check_brokers(servers)


@pytest.mark.parametrize(
    "servers", ["embeded", "localhost", ":9092", "a:b", "a:1,", "::1:9", "a:1 b:2"]
)
def test_broker_may_not_be(servers):
    with pytest.raises(ValueError, match="is no address of a broker"):
        check_brokers(servers)


def test_broker_whose_host_nobody_knows_is_told(monkeypatch):
    def getaddrinfo(host, port):
        raise socket.gaierror(known[host], host)

    known = {"nowhere": socket.EAI_NONAME, "later": socket.EAI_AGAIN}
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(ValueError, match=r"^nowhere:1,nowhere:2: no such host$"):
        check_brokers("nowhere:1,nowhere:2")
    check_brokers("nowhere:1,later:2")


def test_broker_whose_host_is_too_long_is_none():
    with pytest.raises(ValueError, match="no such host"):
        check_brokers(f"{'a' * 64}:1")
