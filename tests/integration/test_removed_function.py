"""A function is removed under load and deployed again: no saga is undone for it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from saga.functions.orchestrator.place_order import place_order
from saga.runtime import Retry, saga_queries
from saga.runtime.testing import Request
from saga.stacks import ledger
from support.project import Project, lay_out
from support.system import RunningSystem

RESERVE = "product.reserve_product"
ORDERS = 40
SILENCES = 3  # each of which would have used up one attempt, of two
HASTY: dict[str, Any] = {"retry": Retry(attempts=2), "timeout": 0.5}
SAGA = """
from dataclasses import replace

from saga.functions.orchestrator.place_order import place_order as declared
from saga.runtime import Retry

steps = [replace(step, retry=Retry(attempts=2), timeout=0.5) for step in declared.steps]
place_order = replace(declared, steps=steps)
"""


@pytest.fixture(scope="module")
def orders(start_system: Callable[..., RunningSystem]) -> Project:
    """The order system, whose saga soon misses an answer."""
    projects: list[Project] = []

    def prepare(system: RunningSystem) -> None:
        [project] = projects[:] = [lay_out(system)]
        for name, text in (("__init__.py", ""), ("place_order.py", SAGA)):
            path = project.root / "hasty" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        project.edit("stacks/orchestrator.toml", '"saga.functions.orchestrator"', '"hasty"')

    start_system(prepare=prepare)
    return projects[0]


def test_function_that_is_away_under_load_costs_no_saga(
    orders: Project, until: Callable[..., Any]
) -> None:
    system = orders.system
    user, product = system.make_user("1000000.00"), system.make_product(stock=1000)
    wanted = {"user_id": user, "product_id": product, "quantity": 1}
    ledger.open_databases(system.settings())
    before = ledger.books()
    place = partial(system.order, user, product, wait=0)
    with ThreadPoolExecutor(4) as pool:
        placed = [pool.submit(place) for _ in range(ORDERS)]
        orders.ok("remove", RESERVE)
        placed += [pool.submit(place) for _ in range(ORDERS)]
    saga_ids = [str(one.result()["saga_id"]) for one in placed]

    def late() -> list[Any]:
        states = saga_queries.find_many(ledger.sagas(), saga_ids)
        return [s for s in states if s.steps[1].silences >= SILENCES or s.failure is not None]

    until(late, "an answer is missed for long")
    assert {state.steps[1].attempts for state in late()} == {1}
    orders.ok("deploy", RESERVE)
    until(lambda: len(saga_queries.ended(ledger.sagas(), saga_ids)) == len(saga_ids), "all end")
    states = saga_queries.find_many(ledger.sagas(), saga_ids)
    assert {state.status for state in states} == {"COMPLETED"}
    hasty = replace(place_order, steps=[replace(step, **HASTY) for step in place_order.steps])
    requests = [Request(wanted, told=[saga_id], tries=1) for saga_id in saga_ids]
    assert ledger.violations(requests, before, hasty) == []
