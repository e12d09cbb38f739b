"""The OpenAPI 3.1 document of an app: written with sanic-ext, its schemas made by pydantic.

Imported when somebody asks for it: to import sanic-ext takes as long as the start of an adapter.
"""

import json
from collections.abc import Iterable, Mapping
from functools import cache
from http import HTTPStatus
from importlib.metadata import version
from typing import Any
from uuid import UUID

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import JsonSchemaMode
from sanic import Sanic
from sanic_ext.extensions.openapi import builders, definitions
from sanic_routing.route import Route

from . import payload, problem_types, problems
from .openapi import OPERATIONS, Operation, template
from .problem_types import ProblemType

# sanic-ext is typed in part only.
_builders: Any = builders
_spec: Any = definitions

VERSION = "3.1.0"
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


def document(app: Sanic[Any, Any], title: str) -> str:
    """Write the document of an app whose routes are all there."""
    paths: dict[str, dict[str, Any]] = {}
    for route in app.router.routes:
        if route.handler in OPERATIONS:
            method = next(iter(set(route.methods) - {"HEAD"})).lower()
            operation = _operation(OPERATIONS[route.handler], route, method)
            paths.setdefault(template(route), {})[method] = operation
    written = _spec.OpenAPI(
        _spec.Info(title, version("saga-functions")),
        {path: _spec.PathItem(**methods) for path, methods in sorted(paths.items())},
        components=_spec.Components(schemas={}),
    ).serialize()
    # sanic-ext says 3.0.3 whatever the schemas are; pydantic's are of 3.1.
    whole = {**written, "openapi": VERSION, "components": {"schemas": _take_schemas(written)}}
    return json.dumps(whole)


def _operation(said: Operation, route: Route, method: str) -> Any:
    operation = _builders.OperationBuilder()
    operation.name(said.name)
    summary, _, description = said.summary.partition("\n")
    operation.describe(summary.removesuffix("."), description.strip())
    for status, shape in said.returns.items():
        operation.responses[str(status)] = _response(status, shape, said)
    types = said.problems if method == "get" else {*said.problems, problem_types.CROSS_ORIGIN}
    for status in sorted({one.status for one in types}):
        same = [one for one in types if one.status == status]
        operation.responses[str(status)] = _problems(status, same)
    if said.body:
        media = {payload.MEDIA_TYPE: {"schema": _schema(said.body, "validation")}}
        operation.body(media, required=True)
    headers = [_header_parameter(*header) for header in said.headers.items()]
    operation.parameters = [*_path(route), *_query(said.query), *headers]
    return operation.build()


def _response(status: int, shape: Any, said: Operation) -> dict[str, Any]:
    fields: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if shape is not None:
        fields["content"] = {said.content: {"schema": _schema(shape, "serialization")}}
    if said.response_headers:
        fields["headers"] = {n: _header(n, text) for n, text in said.response_headers.items()}
    if said.links:
        fields["links"] = {n: {"operationId": n, "parameters": p} for n, p in said.links.items()}
    return fields


def _problems(status: int, types: Iterable[ProblemType]) -> dict[str, Any]:
    """Describe a problem of one of some types, all of one status."""
    codes = {"type": "object", "properties": {"code": {"enum": sorted(t.code for t in types)}}}
    schema = {"allOf": [_schema(problems.Problem, "serialization"), codes]}
    headers = {"headers": RETRY_AFTER} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
    content = {problems.MEDIA_TYPE: {"schema": schema}}
    return {"description": HTTPStatus(status).phrase, "content": content, **headers}


def _header(name: str, text: str) -> dict[str, Any]:
    always = {"required": True} if name in ALWAYS_SENT else {}
    return {"description": text, "schema": {"type": "string"}, **always}


def _schema(shape: Any, mode: JsonSchemaMode) -> dict[str, Any]:
    """Make a schema that refers to its models as components, and brings them under `$defs`."""
    if shape is str:
        return {"type": "string"}
    schema = _list_schema(shape, mode)
    return {**schema["items"], **_definitions(schema)}


@cache
def _list_schema(shape: Any, mode: JsonSchemaMode) -> dict[str, Any]:
    # Inside a list even a lone model becomes a definition of its own.
    return TypeAdapter(list[shape]).json_schema(mode=mode, ref_template=REFERENCE)


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


def _parameter(place: str, name: str, schema: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "in": place, "schema": schema, **more}


def _query(shape: type[BaseModel] | None) -> list[dict[str, Any]]:
    schema = shape.model_json_schema(ref_template=REFERENCE) if shape else {"properties": {}}
    return [
        _parameter("query", name, {**_not_null(kind), **_definitions(schema)})
        for name, kind in schema["properties"].items()
    ]


def _not_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Drop the null that stands for a parameter left out."""
    (kind, *_) = schema.get("anyOf", [schema])
    return {key: value for key, value in kind.items() if key != "title"}


def _header_parameter(name: str, said: str | Mapping[str, Any]) -> dict[str, Any]:
    schema = {"description": said} if isinstance(said, str) else dict(said)
    text = schema.pop("description")
    return _parameter("header", name, {"type": "string", **schema}, description=text)


def _path(route: Route) -> list[dict[str, Any]]:
    return [
        _parameter("path", p.name, UUID_SCHEMA if p.cast is UUID else INTEGER, required=True)
        for p in route.params.values()
    ]
