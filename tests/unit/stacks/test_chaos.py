"""Orders go on until a run has seen all that it is there to see; a short one need not."""

import random
from collections import Counter
from itertools import islice
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
from rich.progress import Progress

from saga.runtime.testing.request import Request
from saga.stacks import chaos
from saga.stacks.ledger import KINDS
from saga.stacks.load import Client, Load


def disturbing(**kills: int) -> Any:
    """Stand in for what has killed these processes, and not `b`."""
    killer = SimpleNamespace(kills=Counter(kills), missing=lambda: ["kill of b"])
    return SimpleNamespace(killer=killer, kinds=lambda: ["junk", "freezes"])


@pytest.fixture
def wishes(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make wishes, more than three of them until they are enough."""
    monkeypatch.setattr(chaos, "_seed", lambda: ([1], [2]))
    return lambda enough: chaos._wishes(random.Random(1), 3, enough)


def test_wishes_are_those_asked_for_and_more_until_they_are_enough(wishes: Any) -> None:
    enough = Event()
    made = wishes(enough)
    assert len({wish.key for wish in islice(made, 5)}) == 5
    enough.set()
    assert list(made) == []
    assert len(list(wishes(enough))) == 3


def test_orders_go_on_until_all_is_seen(wishes: Any) -> None:
    class Placing(Client):
        def place(self, request: Request, wait: int | None = None) -> None:
            """Be accepted at once."""
            request.told.append(str(request.key))

    enough = Event()
    load = Load(("127.0.0.1", 1), wishes(enough), clients=2, client=Placing)
    all_seen = lambda: load.accepted >= 100  # noqa: E731
    with Progress(disable=True) as progress:
        chaos._place(load, 3, enough, all_seen, progress)
    assert load.accepted >= 100
    assert enough.is_set()


def test_long_run_has_to_see_each_kind_and_to_kill_everybody() -> None:
    seen = dict.fromkeys([*KINDS, "junk"], 1) | {"refunds": 0}
    unseen = chaos._unseen(seen, disturbing(a=1), 1000)
    assert unseen == ["refunds", "freezes", "kill of b"]


def test_short_run_has_to_kill_somebody() -> None:
    assert chaos._unseen({}, disturbing(), 10) == ["kill"]
    assert chaos._unseen({}, disturbing(a=1), 10) == []
