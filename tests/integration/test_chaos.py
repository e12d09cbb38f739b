"""Random kills under load, on a laptop's broker and databases and on those of servers."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from saga.stacks.traps import KINDS

pytestmark = pytest.mark.proof


@pytest.mark.timeout(1000)
def test_nothing_is_lost_or_doubled_under_random_kills(start_either: Callable[[], Any]) -> None:
    system = start_either()
    done = system.saga(
        *("chaos", "--orders", "1000", "--seconds", "45", "--seed", "2026", "--json"),
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    verdict = json.loads(done.stdout)
    assert "brokers are down" not in done.stderr
    assert verdict["violations"] == []
    assert verdict["accepted"] == 1000
    traps = [kind for kind in KINDS if kind in verdict["seen"]]
    assert verdict["completed"] + verdict["compensated"] == 1000 + len(traps)
    assert verdict["completed"] > 0
    assert verdict["compensated"] > 0
    assert sum(verdict["kills"].values()) > 15
    system.saga("down")
