"""The OpenAPI 3.1 document: declared with sanic-ext, its schemas made by pydantic."""

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, TypeVar
from uuid import UUID

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import JsonSchemaMode
from sanic import Sanic
from sanic_ext.extensions.openapi import builders, definitions
from sanic_routing.route import Route

from . import payload, problem_types, problems
from .problem_types import ProblemType

H = TypeVar("H", bound=Callable[..., Any])
Texts = Mapping[str, str]
Headers = Mapping[str, str | Mapping[str, Any]]

# sanic-ext is typed in part only.
_builders: Any = builders
_spec: Any = definitions

VERSION = "3.1.0"
# One store for the whole process, by handler.
OPERATIONS: dict[Callable[..., Any], Any] = _builders.OperationStore()
ANY_ERRORS = (400, 413, 421, 503)  # a request may be no UTF-8, or have headers that are too large
BODY_ERRORS = (415, 422)
REFERENCE = "#/components/schemas/{model}"
INTEGER = {"type": "integer", "minimum": 1}
ALWAYS_SENT = {"Location", "ETag"}  # of the headers that answers may have
RETRY_AFTER = {
    "Retry-After": {
        "description": "Seconds to wait before another try.",
        "schema": {"type": "integer", "minimum": 0},
        "required": True,
    }
}
UUID_SCHEMA = {"type": "string", "format": "uuid"}


class _Response(definitions.Response):
    """A response that may have headers and links: sanic-ext's own knows none."""

    headers: dict[str, Any]
    links: dict[str, Any]


class _Problems(_Response):
    """A response that is a problem of one of some types, all of one status."""

    def __init__(self, status: int, types: Sequence[ProblemType]) -> None:
        codes = {"type": "object", "properties": {"code": {"enum": sorted(t.code for t in types)}}}
        schema = {"allOf": [_schema(problems.Problem, "serialization"), codes]}
        fields: dict[str, Any] = {"content": {problems.MEDIA_TYPE: {"schema": schema}}}
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            fields["headers"] = RETRY_AFTER
        super().__init__(description=HTTPStatus(status).phrase, **fields)
        self.types = types


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

    def declare(handler: H) -> H:
        operation = OPERATIONS[handler]
        operation.name(name or handler.__name__)
        _summarise(operation, summary or inspect.getdoc(handler) or "")
        for status, shape in returns.items():
            operation.responses[str(status)] = _response(
                status, shape, response_headers, links, content
            )
        refused = {*errors, *ANY_ERRORS, *(BODY_ERRORS if body else ()), *((422,) if query else ())}
        types = problem_types.among(refused)
        for status in sorted({one.status for one in types}):
            same = [one for one in types if one.status == status]
            operation.responses[str(status)] = _Problems(status, same)
        if body:
            media = {payload.MEDIA_TYPE: {"schema": _schema(body, "validation")}}
            operation.body(media, required=True)
        operation.parameters += [*_query(query), *_headers(headers)]
        return handler

    return declare


def document(app: Sanic[Any, Any], title: str) -> str:
    """Write the document of an app whose routes are all there."""
    paths: dict[str, dict[str, Any]] = {}
    for route in app.router.routes:
        if route.handler in OPERATIONS:
            operation = deepcopy(OPERATIONS[route.handler])
            operation.parameters = [*_path(route), *operation.parameters]
            method = next(iter(set(route.methods) - {"HEAD"})).lower()
            if method != "get":
                types = [problem_types.CROSS_ORIGIN]
                operation.responses["403"] = _Problems(HTTPStatus.FORBIDDEN, types)
            paths.setdefault(template(route), {})[method] = operation.build()
    written = _spec.OpenAPI(
        _spec.Info(title, version("saga-functions")),
        {path: _spec.PathItem(**methods) for path, methods in sorted(paths.items())},
        components=_spec.Components(schemas={}),
    ).serialize()
    # sanic-ext says 3.0.3 whatever the schemas are; pydantic's are of 3.1.
    whole = {**written, "openapi": VERSION, "components": {"schemas": _take_schemas(written)}}
    return json.dumps(whole)


def types_of(app: Sanic[Any, Any]) -> list[ProblemType]:
    """List the types of problems that an app's operations may have, and any request."""
    types = {*problem_types.ANYWHERE}
    for route in app.router.routes:
        if route.handler in OPERATIONS:
            for response in OPERATIONS[route.handler].responses.values():
                types |= {*getattr(response, "types", ())}
    return sorted(types, key=lambda one: (one.status, one.code))


def _summarise(operation: Any, text: str) -> None:
    summary, _, description = text.partition("\n")
    operation.describe(summary.removesuffix("."), description.strip())


def _response(
    status: int,
    shape: Any,
    headers: Texts | None,
    links: Mapping[str, Texts] | None,
    content: str,
) -> definitions.Response:
    fields: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if shape is not None:
        fields["content"] = {content: {"schema": _schema(shape, "serialization")}}
    if headers:
        fields["headers"] = {name: _header(name, text) for name, text in headers.items()}
    if links:
        fields["links"] = {n: {"operationId": n, "parameters": p} for n, p in links.items()}
    return _Response(**fields)


def _header(name: str, text: str) -> dict[str, Any]:
    always = {"required": True} if name in ALWAYS_SENT else {}
    return {"description": text, "schema": {"type": "string"}, **always}


def _schema(shape: Any, mode: JsonSchemaMode) -> dict[str, Any]:
    """Make a schema that refers to its models as components, and brings them under `$defs`."""
    if shape is str:
        return {"type": "string"}
    # Inside a list even a lone model becomes a definition of its own.
    schema = TypeAdapter(list[shape]).json_schema(mode=mode, ref_template=REFERENCE)
    return {**schema["items"], **_definitions(schema)}


def _definitions(schema: dict[str, Any]) -> dict[str, Any]:
    return {"$defs": schema["$defs"]} if "$defs" in schema else {}


def _take_schemas(node: Any) -> dict[str, Any]:
    """Take the definitions out of every schema below `node`."""
    taken: dict[str, Any] = {}
    if isinstance(node, dict):
        taken |= node.pop("$defs", {})
    below = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for child in below:
        taken |= _take_schemas(child)
    return taken


def _query(shape: type[BaseModel] | None) -> list[definitions.Parameter]:
    schema = shape.model_json_schema(ref_template=REFERENCE) if shape else {"properties": {}}
    return [
        _spec.Parameter(name, {**_not_null(kind), **_definitions(schema)}, "query")
        for name, kind in schema["properties"].items()
    ]


def _not_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Drop the null that stands for a parameter left out."""
    (kind, *_) = schema.get("anyOf", [schema])
    return {key: value for key, value in kind.items() if key != "title"}


def _headers(headers: Headers | None) -> list[definitions.Parameter]:
    return [_header_parameter(name, said) for name, said in (headers or {}).items()]


def _header_parameter(name: str, said: str | Mapping[str, Any]) -> definitions.Parameter:
    schema = {"description": said} if isinstance(said, str) else dict(said)
    text = schema.pop("description")
    parameter: definitions.Parameter = _spec.Parameter(
        name, {"type": "string", **schema}, "header", description=text
    )
    return parameter


def _path(route: Route) -> list[definitions.Parameter]:
    return [
        _spec.Parameter(p.name, UUID_SCHEMA if p.cast is UUID else INTEGER, "path", required=True)
        for p in route.params.values()
    ]


def template(route: Route) -> str:
    """Write a route's path as OpenAPI does: `/users/{user_id}`."""
    parts = [part.partition(":")[0].strip("<>") for part in route.path.split("/")]
    names = {p.name for p in route.params.values()}
    return "/" + "/".join(f"{{{part}}}" if part in names else part for part in parts)
