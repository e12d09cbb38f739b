"""The pytest plugin: tables in memory, a clock that stands still, and nothing left behind.

Every pytest run on a machine that has the package imports this module: it imports nothing of the
package until a test asks for it.
"""

import sys
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import peewee

    from saga.runtime.testing import FrozenClock


@pytest.fixture
def saga_database() -> "Callable[..., peewee.Database]":
    """Bind the tables of functions, store modules or single tables to a new database in memory."""
    from saga.runtime.testing import fresh_database

    return fresh_database


@pytest.fixture
def frozen_clock() -> "Iterator[FrozenClock]":
    """Stop the clock of the test's thread, and let the test move it."""
    from saga.runtime.clock import clock_set_to
    from saga.runtime.testing import FrozenClock

    clock = FrozenClock()
    with clock_set_to(clock):
        yield clock


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None, object, object]:
    """Clear the workbench once the test's own fixtures are done with it."""
    try:
        return (yield)
    finally:
        if "saga.runtime.testing" in sys.modules:
            sys.modules["saga.runtime.testing"].reset()
