"""Who may see the console, and act: a person on its own pages, not another site in the browser.

A site whose name is made to lead here (DNS rebinding) is known by its name, in `Host`; one that
sends a form here from its own page by `Origin`. A form has a token that only this site can know: it
is in a cookie, too, and so good with each process of an adapter.
"""

import hmac
import secrets

from sanic import HTTPResponse, Request
from sanic.exceptions import Forbidden

from ..settings import Settings
from ..web import known_host
from ..web.cross_origin import authority
from .assets import ROOT

COOKIE = "saga_console"
FIELD = "token"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    # With no-referrer, a browser would not tell a form's origin.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def check_host(request: Request, settings: Settings) -> None:
    """Raise `UnknownHost` where the console is asked for under a name that is not its own."""
    known_host.check(request.headers.get("host", ""), settings)


def check_sender(request: Request, token: str) -> None:
    """Raise `Forbidden` unless a form was sent from a page of the console in this browser."""
    origin, host = request.headers.get("origin", ""), request.headers.get("host", "")
    if not host or authority(origin) != host.lower():
        raise Forbidden(f"this was sent by {origin or 'nobody who says so'}, not by the console")
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise Forbidden("this was sent by another site")
    known = request.cookies.get(COOKIE) or ""
    if not known or not hmac.compare_digest(known.encode(), token.encode()):
        raise Forbidden("this form is not of this browser, or an old one: load the page again")


def token_of(request: Request) -> str:
    """Return the browser's token; a new one where it has none."""
    return request.cookies.get(COOKIE) or secrets.token_urlsafe(32)


def give_token(response: HTTPResponse, token: str) -> None:
    """Let the browser keep its token; it comes along with no request of another site's."""
    response.add_cookie(COOKIE, token, path=ROOT, httponly=True, samesite="Lax", secure=False)
