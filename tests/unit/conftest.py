"""Apps of adapters, each running on a port of its own, with an SQLite file for a database."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sanic import Sanic

from saga.runtime.settings import Settings
from support.api import Api, run_app


@pytest.fixture
def start() -> Iterator[Callable[[Sanic[Any, Any]], Api]]:
    with ExitStack() as stack:
        yield lambda app: stack.enter_context(run_app(app))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(saga_data=tmp_path)
