"""YAML that people read: what stands in it often is written once, and merged by its name."""

import math
import re
from typing import Any

import yaml


class Quoted(str):
    """Text that is written in quotes, whatever a reader of YAML would take it for."""

    __slots__ = ()


class Merge(str):
    """The key whose value, a shared block, is merged into the mapping around it."""

    __slots__ = ()


MERGE = Merge("<<")


def dump(document: dict[str, Any]) -> str:
    """Write a Compose file, of which the entries `x-NAME` are shared blocks with the anchor `NAME`.

    As always with PyYAML, a block is known by its identity.
    """
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=math.inf)
    # A blank line before each block, and before each service.
    shared, services = text.split("\nservices:\n")
    services = re.sub(r"(?<!:)\n(?=\S|  [^\s:]+:\n)", "\n\n", services)
    return re.sub(r"\n(?=\S)", "\n\n", shared) + "\n\nservices:\n" + services


class _Dumper(yaml.SafeDumper):
    """Writes lists in one line, mappings as blocks."""

    def serialize(self, node: yaml.Node) -> None:
        self._names: dict[yaml.Node, str] = {block: key.value for key, block in node.value}
        super().serialize(node)

    def generate_anchor(self, node: yaml.Node) -> str:
        return self._names[node].removeprefix("x-")


def _list(dumper: _Dumper, data: list[Any]) -> yaml.Node:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True)


def _quoted(dumper: _Dumper, data: Quoted) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", data, style='"')


def _merge(dumper: _Dumper, data: Merge) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:merge", data)


_Dumper.add_representer(list, _list)
_Dumper.add_representer(Quoted, _quoted)
_Dumper.add_representer(Merge, _merge)
# Compose 2 may take these words for Booleans, PyYAML would not: they need quotes, too.
_Dumper.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"[yYnN]$"), list("yYnN"))
