"""What a page of another origin lets a browser send: it changes nothing here.

A browser sends a request without a body to whomever a page says, and asks nobody before. It tells
what it is in `Sec-Fetch-Site`; over plain HTTP to another host, and where it is old, in `Origin`
alone. Programs tell neither.
"""

from urllib.parse import urlsplit

from sanic import Request

from .problems import CrossOrigin

SAFE = ("GET", "HEAD", "OPTIONS", "TRACE")  # methods that change nothing
OWN = ("same-origin", "none")  # `none` is a person's own doing


def authority(origin: str) -> str:
    """Return the host of an origin, with its port; an empty text where it has none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


async def refuse_cross_origin(request: Request) -> None:
    """Raise `CrossOrigin` for a request that may change something, and is another origin's."""
    if request.method not in SAFE and not _is_own(request):
        raise CrossOrigin("this was sent by a page of another origin")


def _is_own(request: Request) -> bool:
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        return site in OWN
    return origin is None or authority(origin) == request.headers.get("host", "").lower()
