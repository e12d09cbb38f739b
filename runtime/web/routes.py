"""How paths are routed."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from sanic import Blueprint, Sanic

READ = ("GET", "HEAD")
# Of errors that Sanic answers itself, which are none. Not told, it reads the source of each handler
# to guess it, at each start.
FORMAT = "json"
H = TypeVar("H", bound=Callable[..., Any])


def get(api: Blueprint, uri: str) -> Callable[[H], H]:
    """Route GET, and HEAD with it, to the handler."""
    return cast(Callable[[H], H], api.route(uri, methods=READ, error_format=FORMAT))


def add(
    api: Blueprint | Sanic[Any, Any],
    handler: Callable[..., Any],
    uri: str,
    methods: Sequence[str] = READ,
    name: str | None = None,
) -> None:
    """Route these methods to the handler; the route has its name, or another one."""
    api.add_route(handler, uri, methods=methods, name=name, error_format=FORMAT)
