"""What JSON can say of Python's types: a strict reading that knows JSON has no UUID and no date.

pydantic has this reading for JSON's text, but there it takes every number that is not whole through
a float. Here it is for values that are parsed already, in which such numbers are `Decimal`.
"""

from collections.abc import Callable, Hashable
from contextlib import suppress
from decimal import Decimal
from functools import lru_cache
from math import isfinite
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import SchemaValidator, core_schema

Schema = Any  # pydantic_core's schemas are dictionaries of many kinds

TEXTS = {"uuid", "date", "time", "datetime", "timedelta", "url", "multi-host-url", "bytes"}
STRICT = {"int", "str", "bool"}
LAX = {"enum", "set", "frozenset", "tuple", "dataclass"}  # of JSON's values, lists and objects
# What stands in a schema without being part of it.
OPAQUE = {"metadata", "default", "expected", "members", "serialization", "config", "function"}


@lru_cache
def json_validator(shape: Hashable) -> SchemaValidator:
    """Make the validator of a type; values are JSON's, with `Decimal` in the place of float."""
    # A model would be read by the validator that it has already.
    return SchemaValidator(_as_json(TypeAdapter(shape).core_schema), _use_prebuilt=False)


def _as_json(node: Schema) -> Schema:
    """Copy a schema, with Python's types replaced by what JSON has for them."""
    if isinstance(node, (list, tuple)):
        return type(node)(map(_as_json, node))
    if not isinstance(node, dict):
        return node
    kind = node.get("type")
    if not isinstance(kind, str):  # names, such as the fields of a model, with a schema each
        return {name: _as_json(below) for name, below in node.items()}
    copy = {k: v if k in OPAQUE else _as_json(v) for k, v in node.items()}
    if "keys_schema" in copy:
        copy["keys_schema"] = {**copy["keys_schema"], "strict": False}  # a key is always text
    return _leaf(kind, copy)


def _leaf(kind: str, node: Schema) -> Schema:
    if kind in STRICT:
        return {"strict": True, **node}
    if kind in LAX:
        return {**node, "strict": False}
    if kind in TEXTS:
        return _after(_text, node)
    if kind == "decimal":
        return _after(_number, node)
    return _after(_inexact, node) if kind == "float" else node


def _after(check: Callable[[Any], Any], node: Schema) -> Schema:
    return core_schema.no_info_before_validator_function(check, {**node, "strict": False})


def _text(value: object) -> object:
    if isinstance(value, str):
        return value
    raise ValueError("must be a string")


def _number(value: object) -> object:
    """Accept a number, or one in a string, as pydantic does of JSON."""
    if isinstance(value, (int, str, Decimal)) and not isinstance(value, bool):
        return value
    raise ValueError("must be a number, or a decimal number in a string")


def _inexact(value: object) -> float:
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        with suppress(OverflowError):
            if isfinite(number := float(value)):
                return number
    raise ValueError("must be a number, and not too large for a float")
