"""Under which names an adapter answers: no other site's that somebody makes lead here.

A page whose own name leads to this adapter (DNS rebinding) is of its origin, for the browser. What
listens on loopback is meant for this machine alone, and only its names and addresses lead there. A
container, or what is behind a proxy, has names that nobody here knows, unless the settings do.
"""

import ipaddress
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
    host = request.headers.get("host", "")
    if host and request.path not in OPEN and (settings.saga_hosts or _is_loopback(settings)):
        check(host, settings)


def check(host: str, settings: Settings) -> None:
    """Raise `UnknownHost` for what is neither an address nor a name that the settings have.

    Nobody can make an address lead somewhere else.
    """
    name = _name(host)
    names = {one.strip().lower() for one in settings.saga_hosts.split(",")}
    if name not in {"localhost", settings.saga_host.lower(), *names} - {""} and not _address(name):
        raise UnknownHost(f"{name or 'nothing'} is no name of this adapter: SAGA_HOSTS has them")


def _is_loopback(settings: Settings) -> bool:
    address = _address(settings.saga_host)
    return address.is_loopback if address else settings.saga_host.lower() == "localhost"


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
