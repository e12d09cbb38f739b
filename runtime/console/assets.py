"""The console's own files: a browser asks for each version of one only once."""

from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from sanic import HTTPResponse, Request, empty
from sanic.exceptions import NotFound

ROOT = "/console"
FOLDER = Path(__file__).with_name("static")
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
# Where its address has the tag of another version, which this process does not know.
FOREVER, EACH_TIME = "public, max-age=31536000, immutable", "no-cache"


class Asset(NamedTuple):
    """A file, and the tag of its content."""

    content: bytes
    media_type: str
    tag: str


@cache
def assets() -> dict[str, Asset]:
    """Return all of them by name."""
    return {path.name: _read(path) for path in FOLDER.iterdir() if path.suffix in TYPES}


def address(name: str) -> str:
    """Return where a page finds a file: one whose content is another has another address."""
    return f"{ROOT}/static/{name}?v={assets()[name].tag}"


async def get_asset(request: Request, name: str) -> HTTPResponse:
    """Return a file."""
    if name not in assets():
        raise NotFound(f"there is no file {name}")
    asset = assets()[name]
    kept = FOREVER if request.args.get("v") == asset.tag else EACH_TIME
    tag = f'"{asset.tag}"'
    headers = {"ETag": tag, "Cache-Control": kept}
    if tag in request.headers.getall("if-none-match", []):
        return empty(304, headers)
    return HTTPResponse(asset.content, 200, headers, asset.media_type)


def _read(path: Path) -> Asset:
    content = path.read_bytes()
    return Asset(content, TYPES[path.suffix], sha256(content).hexdigest()[:16])
