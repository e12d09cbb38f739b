"""Addresses: where a server may listen, how this machine reaches it, and how that is written."""

import re
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address

BACKLOG = 1024  # connections that wait to be accepted, as while an adapter is started again
LOOPBACK = {4: "127.0.0.1", 6: "::1"}
NAME = re.compile(r"(?!-)[A-Za-z0-9_.-]{1,253}")
BROKER = re.compile(r"(?:[A-Z_]+://)?(\[[^\[\]]+\]|[^\s:/\[\],]+):(\d{1,5})")  # a protocol may lead


def checked_host(host: str) -> str:
    """Return a host without brackets; raise `ValueError` where it is neither address nor name."""
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if _ip(bare) is None and not NAME.fullmatch(host):
        raise ValueError(f"{host!r} is neither an IP address nor a host's name")
    return bare


def reached_at(host: str) -> str:
    """Return where this machine reaches what listens on a host, be it on all of its addresses."""
    ip = _ip(host)
    return LOOPBACK[ip.version] if ip is not None and ip.is_unspecified else host


def web_address(host: str, port: int | None) -> str:
    """Return the URL at which this machine reaches what listens on a host's port."""
    return f"http://{in_url(reached_at(host))}:{port}"


def in_url(host: str) -> str:
    """Write a host as a URL has it, an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def listen(host: str, port: int) -> socket.socket:
    """Listen on a host's port, on `::` for IPv4, too; raise `OSError` where that can't be had."""
    ip = _ip(host)
    listening = socket.socket(socket.AF_INET6 if ip and ip.version == 6 else socket.AF_INET)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def check_brokers(servers: str) -> None:
    """Raise `ValueError` unless it is `HOST:PORT`, or several, and one of the hosts is known."""
    if not any(_is_known(*host) for host in brokers(servers)):
        raise ValueError(f"{servers}: no such host")


def brokers(servers: str) -> list[tuple[str, int]]:
    """Return the hosts and ports of `HOST:PORT`, or of several; else raise `ValueError`."""
    found = [BROKER.fullmatch(server.strip()) for server in servers.split(",")]
    hosts = [(match[1].strip("[]"), int(match[2])) for match in found if match]
    if len(hosts) < len(found):
        raise ValueError(
            f"{servers!r} is no address of a broker: HOST:PORT, or several with commas"
        )
    return hosts


def _is_known(host: str, port: int) -> bool:
    try:
        return bool(socket.getaddrinfo(host, port))
    except socket.gaierror as error:
        return error.errno == socket.EAI_AGAIN  # the network may only just come up
    except (OverflowError, UnicodeError):
        return False


def _ip(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
