"""Quix Streams, whose clients of a schema registry are imported once somebody calls one.

They bring an HTTP client and its OAuth: a third of all that a process of a system imports.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

REGISTRY = "confluent_kafka.schema_registry"


class _Later(ModuleType):
    """Stands for a module whose classes and functions are imported where they are called."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)

        def call(_: type, *arguments: Any, **options: Any) -> Any:
            return getattr(import_module(self.__name__), name)(*arguments, **options)

        # A class, for annotations, and an exception, as some of them are caught.
        return type(name, (Exception,), {"__new__": call})


@contextmanager
def _later(*modules: str) -> Iterator[None]:
    missing = [name for name in modules if name not in sys.modules]
    sys.modules.update({name: _Later(name) for name in missing})
    try:
        yield
    finally:
        for name in missing:
            del sys.modules[name]


with _later(REGISTRY, f"{REGISTRY}.json_schema"):
    from quixstreams import Application
    from quixstreams.kafka import ConnectionConfig

__all__ = ["Application", "ConnectionConfig"]
