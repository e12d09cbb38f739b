"""How a process that hosts something is set up."""

import signal
from dataclasses import replace

import pytest

from saga.runtime.database.connection import LONGEST
from saga.runtime.settings import Settings
from saga.runtime.system import host
from saga.runtime.system.stack import Stack, read_stacks


class Connected(Exception):
    """Its database was connected."""


@pytest.fixture
def longest(monkeypatch):
    """Start to host something, with these changes; return the limit that its database is given."""

    def start(service, name, **changes):
        def connect(url, *, longest):
            given.append(longest)
            raise Connected

        given = []
        [stack] = [s for s in read_stacks(Settings().saga_stacks) if s.service == service]
        hosted = replace(stack.import_entry(name), **changes)
        monkeypatch.setattr(Stack, "import_entry", lambda *_: hosted)
        monkeypatch.setattr(signal, "signal", lambda *_: None)
        monkeypatch.setattr(host, "connect", connect)
        with pytest.raises(Connected):
            host.run_entry(stack, name, Settings())
        return given

    return start


def test_database_gives_a_handler_the_time_that_it_may_take(longest):
    assert longest("order", "create_order", timeout=600.0) == [600.0]


def test_saga_has_the_usual_time(longest):
    assert longest("orchestrator", "place_order") == [LONGEST]
