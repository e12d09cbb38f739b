"""Random kills under load, on a laptop's broker and databases and on those of servers."""

import json
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.proof


@pytest.mark.timeout(1000)
def test_nothing_is_lost_or_doubled_under_random_kills(start_either: Callable[[], Any]) -> None:
    system = start_either()
    done = system.saga(
        *("chaos", "--orders", "1000", "--seconds", "30", "--seed", "2026", "--json"),
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    verdict = json.loads(done.stdout)
    assert "brokers are down" not in done.stderr
    assert verdict["violations"] == []
    assert verdict["unseen"] == []
    assert verdict["accepted"] == verdict["orders"] >= 1000
    assert verdict["completed"] + verdict["compensated"] >= verdict["orders"]
    assert sum(verdict["kills"].values()) > 15
    system.saga("down")
