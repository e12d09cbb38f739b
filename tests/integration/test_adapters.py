"""Adapters are replaced, scaled and killed while clients call, and the clients do not notice.

Then a function is removed under load and deployed again: no saga is undone for it.
"""

import http.client
import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import httpx
import pytest

from saga.functions.orchestrator.place_order import place_order
from saga.runtime import Retry, saga_queries
from saga.runtime.testing import Request
from saga.stacks import ledger
from support.project import Project, lay_out
from support.system import ROOT, RunningSystem
from support.waiting import DEADLINE, given_up, wait_until

NAME = "orchestrator"
PAUSE = 0.25  # seconds; with less, clients take what the deploy needs of a machine
KEPT = ("POST", "GET", "waiting POST")  # each once over one connection, and once over one each

# What spoils the adapter, seconds that a deploy may wait, what it then tells.
BAD = {
    "crashes at start": ('raise OSError("no such door")\n', 60, "no such door"),
    "never starts": (
        'import threading\nprint("waits for a key", flush=True)\nthreading.Event().wait()\n',
        2,
        "waits for a key",
    ),
    "is not healthy": (
        """
made = make_app

def make_app(settings):
    app = made(settings)

    async def is_away():
        return False

    app.ctx.checks["oven"] = is_away
    return app
""",
        2,
        "takes no requests yet, as GET /health is answered 'HTTP/1.1 503 Service Unavailable'",
    ),
}

# A saga that soon misses an answer.
PLACE, RESERVE = "orchestrator.place_order", "product.reserve_product"
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


@dataclass
class Clients:
    """Clients that each send their next request soon after the last one is answered."""

    port: int
    body: dict[str, int]
    answers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def call(self, kind: str, *, keeps: bool) -> None:
        """Send requests of one kind until stopped, over one connection where it `keeps` one."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        while not self.stopped.wait(PAUSE):
            try:
                status = self._ask(connection, kind)
                if status >= 400:
                    self.failures.append(f"{kind}: {status}")
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"{kind}, {keeps=}: {error!r}")
                connection.close()
            self.answers[f"{kind}, {keeps=}"] += 1
            if not keeps:
                connection.close()
        connection.close()

    def go_on(self, answers: int = 5) -> None:
        """Wait until each client has had so many more answers."""
        goals = {kind: count + answers for kind, count in self.answers.items()}
        wait_until(
            lambda: all(self.answers[kind] >= goal for kind, goal in goals.items()), "answers"
        )

    def _ask(self, connection: http.client.HTTPConnection, kind: str) -> int:
        if kind == "GET":
            connection.request("GET", "/sagas?limit=1")
        else:
            headers = {"Prefer": "wait=20"} if kind == "waiting POST" else {}
            connection.request(
                "POST",
                "/orders",
                json.dumps(self.body),
                {"Content-Type": "application/json", **headers},
            )
        answer = connection.getresponse()
        answer.read()
        return answer.status


@contextmanager
def clients(system: RunningSystem) -> Iterator[Clients]:
    """Run six clients: each kind of request over one connection and over new ones."""
    body = {
        "user_id": system.make_user("1000000.00"),
        "product_id": system.make_product(stock=1_000_000),
        "quantity": 1,
    }
    load = Clients(system.ports[NAME], body)
    with ThreadPoolExecutor(2 * len(KEPT)) as threads:
        for kind in KEPT:
            for keeps in (True, False):
                load.answers[f"{kind}, {keeps=}"] = 0
                threads.submit(load.call, kind, keeps=keeps)
        try:
            load.go_on()
            yield load
            load.go_on()
        finally:
            load.stopped.set()


@pytest.fixture(scope="module")
def orders(start_system: Callable[..., RunningSystem]) -> Project:
    """The order system, with an orchestrator's adapter whose code can be changed."""
    projects: list[Project] = []

    def prepare(system: RunningSystem) -> None:
        project = lay_out(system)
        copy = project.root / "changed/http.py"
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text((ROOT / "http/orchestrator.py").read_text())
        project.edit("stacks/orchestrator.toml", '"saga.http.orchestrator"', '"changed.http"')
        projects.append(project)

    start_system(prepare=prepare)
    return projects[0]


def adapters(project: Project) -> dict[str, int]:
    """Return the adapter's processes by name; all are ready."""
    rows = project.instances(NAME)
    assert {row["state"] for row in rows} == {"ready"}
    return {row["name"]: row["pid"] for row in rows}


def test_no_request_fails_while_an_adapter_is_replaced_rolled_back_and_scaled(
    orders: Project,
) -> None:
    first, before = orders.version(NAME), adapters(orders)
    adapter = orders.root / "changed/http.py"
    whole = adapter.read_text()
    with clients(orders.system) as load:
        adapter.write_text(f"{whole}\nVERSION = 2\n")
        orders.ok("deploy", NAME)
        assert orders.version(NAME) != first
        assert not adapters(orders).items() & before.items()
        load.go_on()
        orders.ok("rollback", NAME)
        assert orders.version(NAME) == first
        orders.ok("scale", f"{NAME}=3")
        assert len(adapters(orders)) == 3
        load.go_on()
        adapter.write_text(whole)
        orders.ok("deploy", NAME, "--force")
        assert len(adapters(orders)) == 3
        orders.ok("scale", f"{NAME}=1")
        assert len(adapters(orders)) == 1
    assert load.failures == []


@pytest.mark.parametrize("bad", BAD)
def test_version_that_does_not_get_healthy_takes_no_request_and_ends_none(
    orders: Project, bad: str
) -> None:
    code, seconds, reason = BAD[bad]
    before = adapters(orders)
    adapter = orders.root / "changed/http.py"
    whole = adapter.read_text()
    try:
        with clients(orders.system) as load:
            adapter.write_text(whole + code)
            deploy = partial(orders.refused, "deploy", NAME, "--timeout")
            assert reason in given_up(deploy, reason, seconds)[0]
    finally:
        adapter.write_text(whole)
    assert load.failures == []
    assert adapters(orders) == before


def test_other_one_answers_while_one_of_two_is_killed_or_stands_still(orders: Project) -> None:
    orders.ok("scale", f"{NAME}=2")
    [one, other] = adapters(orders).values()
    get = lambda: orders.system.http("GET", NAME, "/sagas?limit=1").status_code  # noqa: E731
    os.kill(one, signal.SIGSTOP)
    try:
        # Each over a connection of its own, none of which is in the queue of the one that stands.
        with ThreadPoolExecutor(8) as threads:
            asked = [threads.submit(get) for _ in range(40)]
            assert {answer.result(DEADLINE) for answer in asked} == {httpx.codes.OK}
    finally:
        os.kill(one, signal.SIGCONT)
    os.kill(other, signal.SIGKILL)
    assert {get() for _ in range(40)} == {httpx.codes.OK}
    wait_until(lambda: other not in {row["pid"] for row in orders.instances(NAME)}, "it is noticed")
    wait_until(lambda: {row["state"] for row in orders.instances(NAME)} == {"ready"}, "it is back")
    orders.ok("scale", f"{NAME}=1")


def test_request_waits_for_the_only_adapter_to_be_started_again(orders: Project) -> None:
    [pid] = adapters(orders).values()
    os.kill(pid, signal.SIGKILL)
    assert orders.system.http("GET", NAME, "/sagas?limit=1").status_code == httpx.codes.OK
    wait_until(lambda: {row["state"] for row in orders.instances(NAME)} == {"ready"}, "it is back")


def test_removed_adapter_refuses_and_takes_its_port_again(orders: Project) -> None:
    orders.ok("remove", NAME)
    with pytest.raises(httpx.ConnectError):
        orders.system.http("GET", NAME, "/sagas?limit=1")
    orders.ok("deploy", NAME)
    assert orders.system.http("GET", NAME, "/sagas?limit=1").status_code == httpx.codes.OK


def test_two_adapters_answer_a_key_that_is_repeated_and_who_waits_alike(orders: Project) -> None:
    system = orders.system
    orders.ok("scale", f"{NAME}=2")
    body = {"user_id": system.make_user(), "product_id": system.make_product(), "quantity": 1}

    def place(number: int) -> Any:
        headers = {"Idempotency-Key": "one order", "Prefer": "wait=20"}
        return system.http("POST", NAME, "/orders", json=body, headers=headers).json()

    with ThreadPoolExecutor(8) as threads:
        sagas = list(threads.map(place, range(16)))
    assert {saga["status"] for saga in sagas} == {"COMPLETED"}
    assert len({saga["saga_id"] for saga in sagas}) == 1
    orders.ok("scale", f"{NAME}=1")


def test_function_that_is_away_under_load_costs_no_saga(
    orders: Project, until: Callable[..., Any]
) -> None:
    (orders.root / "hasty").mkdir()
    (orders.root / "hasty/__init__.py").touch()
    (orders.root / "hasty/place_order.py").write_text(SAGA)
    orders.edit("stacks/orchestrator.toml", '"saga.functions.orchestrator"', '"hasty"')
    orders.ok("deploy", PLACE)
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
