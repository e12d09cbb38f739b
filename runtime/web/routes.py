"""How paths are routed."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from sanic import Blueprint

H = TypeVar("H", bound=Callable[..., Any])


def get(api: Blueprint, uri: str) -> Callable[[H], H]:
    """Route GET, and HEAD with it, to the handler."""
    return cast(Callable[[H], H], api.route(uri, methods=("GET", "HEAD")))
