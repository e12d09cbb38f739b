"""JSON that a schema describes, as far as pydantic's schemas go."""

import json
import math
import re
from typing import Any

Schema = dict[str, Any]

DEEPEST = 6  # models in models: where one may hold itself, there has to be an end

TEXTS = {
    "uuid": ["00000000-0000-4000-8000-000000000007"],
    **{f"uuid{n}": [f"00000000-0000-{n}000-8000-000000000007"] for n in range(1, 9)},
    "date-time": ["2026-01-02T03:04:05.000006Z", "2026-01-02T03:04:05"],
    "date": ["2026-01-02"],
    "time": ["03:04:05.000006", "03:04:05Z"],
    "duration": ["P1DT2H3.5S"],
    "email": ["someone@example.org"],
    "uri": ["https://example.org/a"],
    "ipv4": ["192.0.2.7"],
    "ipv6": ["2001:db8::7"],
    "json-string": ["7"],
    "binary": ["\u00fc", "w7w="],
    "base64url": ["w7w="],
}
FITTING = ("7.5", "7", "a", "A", "a-7", "AA", "AAA", "7777")  # a pattern may fit one of them


def made_up(schema: Schema, turn: int) -> str:
    """Return a value as JSON, and in another `turn` another one, where there are some.

    It differs from the default. A rule that is not in the schema, such as a validator's, may still
    refuse it.
    """
    return json.dumps(_Maker(schema.get("$defs", {}), turn).value(schema))


class _Maker:
    def __init__(self, definitions: dict[str, Schema], turn: int) -> None:
        self._definitions, self._turn, self._depth = definitions, turn, 0

    def value(self, schema: Schema) -> Any:
        if "$ref" in schema:
            return self._referred(schema)
        if "const" in schema:
            return schema["const"]
        for key in ("examples", "enum"):
            if schema.get(key):
                others = [one for one in schema[key] if one != schema.get("default")]
                return self._one_of(others or schema[key])
        options = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
        if options:
            some = [option for option in options if option.get("type") != "null"]
            none = len(some) < len(options) and self._depth >= DEEPEST
            return None if none or not some else self.value(self._one_of(some))
        make = getattr(self, f"_{schema.get('type')}", None)
        return 7 if make is None else make(schema)

    def _one_of(self, options: Any) -> Any:
        return options[self._turn % len(options)]

    def _referred(self, schema: Schema) -> Any:
        self._depth += 1
        try:
            return self.value(self._definitions[schema["$ref"].rpartition("/")[2]])
        finally:
            self._depth -= 1

    def _object(self, schema: Schema) -> Any:
        fields = schema.get("properties", {})
        made = {name: self.value(field) for name, field in fields.items()}
        others = schema.get("additionalProperties")
        if isinstance(others, dict) and self._depth < DEEPEST:
            name = self.value({"type": "string", **schema.get("propertyNames", {})})
            made[str(name)] = self.value(others)
        return made

    def _array(self, schema: Schema) -> Any:
        made = [self.value(item) for item in schema.get("prefixItems", ())]
        if "items" in schema:
            many = max(schema.get("minItems", 0), self._depth < DEEPEST)
            many = min(many, schema.get("maxItems", many))
            made += [self.value(schema["items"]) for _ in range(many - len(made))]
        return made

    def _string(self, schema: Schema) -> str:
        if schema.get("format") in TEXTS:
            return str(self._one_of(TEXTS[schema["format"]]))
        if "pattern" in schema:
            return next((text for text in FITTING if re.search(schema["pattern"], text)), "")
        if schema.get("contentMediaType") == "application/json":
            return json.dumps(self.value(schema.get("contentSchema", {})))
        text: str = "\u00fc" if schema.get("default") != "\u00fc" else "\u00f6"
        least: int = schema.get("minLength", 1)
        return text * max(1, least)

    def _number(self, schema: Schema) -> Any:
        step = schema.get("multipleOf", 1)
        least: Any = schema.get("minimum", schema.get("exclusiveMinimum", -math.inf))
        most: Any = schema.get("maximum", schema.get("exclusiveMaximum", math.inf))
        near = round(min(max(7, least), most) / step) * step
        unfit = [schema.get(key) for key in ("default", "exclusiveMinimum", "exclusiveMaximum")]
        some = [near, near + step, near - step, near + 2 * step, near - 2 * step]
        return next((n for n in some if least <= n <= most and n not in unfit), near)

    _integer = _number

    def _boolean(self, schema: Schema) -> bool:
        return not schema.get("default", False)

    def _null(self, _: Schema) -> None:
        return None
