"""What handlers are described with: `document` makes an OpenAPI 3.1 document of it."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel
from sanic import Sanic
from sanic_routing.route import Route

from . import payload, problem_types
from .problem_types import ProblemType

H = TypeVar("H", bound=Callable[..., Any])
Texts = Mapping[str, str]
Headers = Mapping[str, str | Mapping[str, Any]]

ANY_ERRORS = (400, 413, 421, 503)  # a request may be no UTF-8, or have headers that are too large
BODY_ERRORS = (415, 422)


@dataclass(frozen=True)
class Operation:
    """How a handler was described; the fields are those that `describe` takes."""

    name: str
    summary: str
    returns: Mapping[int, Any]
    problems: frozenset[ProblemType]
    body: Any
    query: type[BaseModel] | None
    headers: Headers
    response_headers: Texts
    links: Mapping[str, Texts]
    content: str


# Of the whole process, by handler.
OPERATIONS: dict[Callable[..., Any], Operation] = {}


def describe(
    returns: Mapping[int, Any],
    *,
    errors: Sequence[int | ProblemType] = (),
    body: Any = None,
    query: type[BaseModel] | None = None,
    headers: Headers | None = None,
    response_headers: Texts | None = None,
    links: Mapping[str, Texts] | None = None,
    content: str = payload.MEDIA_TYPE,
    name: str | None = None,
    summary: str | None = None,
) -> Callable[[H], H]:
    """Describe a handler: what it returns by status, what it reads, what may go wrong.

    The handler's docstring becomes the operation's summary and description, and its name the
    operation's, where nothing else is told. What may go wrong is told by its type, or by its status
    where that is all there is to say. A header that it reads has a text, or a schema with one.
    `links` name the operations that go on from what it returns, with where in that their parameters
    are.
    """
    refused = {*errors, *ANY_ERRORS, *(BODY_ERRORS if body else ()), *((422,) if query else ())}
    types = frozenset(problem_types.among(refused))

    def declare(handler: H) -> H:
        OPERATIONS[handler] = Operation(
            name or handler.__name__,
            summary or inspect.getdoc(handler) or "",
            returns,
            types,
            body,
            query,
            headers or {},
            response_headers or {},
            links or {},
            content,
        )
        return handler

    return declare


def types_of(app: Sanic[Any, Any]) -> list[ProblemType]:
    """List the types of problems that an app's operations may have, and any request."""
    types = {*problem_types.ANYWHERE}
    for route in app.router.routes:
        if route.handler in OPERATIONS:
            types |= OPERATIONS[route.handler].problems
    return sorted(types, key=lambda one: (one.status, one.code))


def template(route: Route) -> str:
    """Write a route's path as OpenAPI does: `/users/{user_id}`."""
    parts = [part.partition(":")[0].strip("<>") for part in route.path.split("/")]
    names = {p.name for p in route.params.values()}
    return "/" + "/".join(f"{{{part}}}" if part in names else part for part in parts)
