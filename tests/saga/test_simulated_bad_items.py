"""A bad item of each kind, without any other fault: it is seen to, and nothing else suffers."""

from dataclasses import replace
from typing import Any

import pytest

from saga.runtime.problem import INVALID_COMMAND
from saga.runtime.saga_host import NOT_SENT
from saga.runtime.settings import Settings
from saga.runtime.simulation import world
from saga.runtime.simulation.nemesis import CALM, COMMIT_REFUSED, REFUSED, UNREADABLE
from saga.runtime.simulation.simulator import BAD_ITEMS, Simulator
from saga.runtime.system.stack import read_stacks
from saga.runtime.worker import PROCESS_ENDED
from saga.stacks.simulate import Orders

SEEDS = 6
KINDS: list[tuple[dict[str, Any], str]] = [
    ({"odd": 0.2}, REFUSED),
    ({"deadly": 0.2}, PROCESS_ENDED),
    ({"owing": 0.2}, COMMIT_REFUSED),
    ({"never": 0.05}, NOT_SENT),
    ({"unmade": 0.1}, INVALID_COMMAND),
    ({"spoilt": 60}, UNREADABLE),
]


def test_each_kind_is_tried() -> None:
    assert sorted(code for _, code in KINDS) == sorted(BAD_ITEMS)


@pytest.mark.parametrize(("faults", "code"), KINDS, ids=[code for _, code in KINDS])
def test_nothing_else_suffers(
    faults: dict[str, Any], code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world, "draw", lambda _: replace(CALM, **faults))
    with Simulator(Orders(read_stacks(Settings().saga_stacks))) as simulator:
        runs = [simulator.run(seed) for seed in range(SEEDS)]
    assert [run.violations for run in runs] == [[]] * SEEDS
    assert {kind for run in runs for kind, seen in run.seen.items() if seen} & {*BAD_ITEMS} == {
        code
    }
    sagas = sum(sum(run.statuses.values()) for run in runs)
    gave_up = sum(run.seen.get("excused", 0) for run in runs)
    assert gave_up < sagas / 2
