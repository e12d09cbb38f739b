"""Under which names an adapter answers: no other site's that somebody makes lead here.

A page whose own name leads to this adapter (DNS rebinding) is of its origin, for the browser. What
listens on loopback is meant for this machine alone, and only its names and addresses lead there. A
container, or what is behind a proxy, has names that nobody here knows, unless the settings do.
"""

import ipaddress
from functools import lru_cache
from urllib.parse import urlsplit

from sanic import Request

from ..settings import Settings
from .problems import UnknownHost

OPEN = ("/health", "/health/live", "/health/ready")  # for probes, under whatever name


async def refuse_unknown_hosts(request: Request) -> None:
    """Raise `UnknownHost` where the app listens on loopback, or its names are set, as do all apps.

    A request without `Host` is none of a browser's.
    """
    settings: Settings = request.app.ctx.settings
    host, own = request.headers.get("host", ""), settings.saga_host
    if host and request.path not in OPEN and (settings.saga_hosts or _is_loopback(own)):
        check(host, settings)


def check(host: str, settings: Settings) -> None:
    """Raise `UnknownHost` for what is neither an address nor a name that the settings have.

    Nobody can make an address lead somewhere else.
    """
    if not _is_known(host, settings.saga_host, settings.saga_hosts):
        name = _name(host) or "nothing"
        raise UnknownHost(f"{name} is no name of this adapter: SAGA_HOSTS has them")


@lru_cache
def _is_known(host: str, own: str, others: str) -> bool:
    name, names = _name(host), {one.strip().lower() for one in others.split(",")}
    return name in {"localhost", own.lower(), *names} - {""} or _address(name) is not None


@lru_cache
def _is_loopback(host: str) -> bool:
    address = _address(host)
    return address.is_loopback if address else host.lower() == "localhost"


def _name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
