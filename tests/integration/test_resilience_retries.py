"""Faulty handlers, dead functions, cancelled sagas: retried, given up, undone, and never stuck.

The product service and the saga are this test's own: handlers that fail on demand, and policies
short enough to watch them run out.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from confluent_kafka import Consumer, TopicPartition
from uuid_utils.compat import uuid7

from saga.functions.orchestrator.place_order import PlaceOrder, place_order
from saga.functions.product.store import Reservation
from saga.runtime import saga_queries
from saga.runtime.clock import utcnow
from saga.runtime.kafka.admin import lag
from saga.runtime.kafka.producer import Producer
from saga.runtime.saga_store import SagaStore, Start
from saga.runtime.settings import Settings
from saga.runtime.testing import Request
from saga.stacks import ledger
from support.missing import missing
from support.waiting import DEADLINE

pytestmark = pytest.mark.proof

SAGA = Path(sys.executable).with_name("saga")
RESERVES, RESERVE = "product.reserve_product", "product.reserve"  # a function and its topic
POISON = 666  # the quantity that the faulty product service can't digest
ATTEMPTS = 6  # of a reservation
UNDO_ATTEMPTS = 3  # of a reservation's release, in a round
GOOD_ORDERS = 30  # so few that they end within the seconds that a poisoned one is tried for

PACKAGE = {
    "__init__.py": '"""A product service that fails on demand, and a saga with little patience."""',
    "faults.py": f'''
"""Faults on demand: a file of a function's name makes it fail, a file `slow` makes it slow."""

import os
import time
from pathlib import Path


def visit(name: str, quantity: int = 0) -> None:
    folder = Path(os.environ["FAULTS"])
    (folder / f"{{name}}.entered").touch()
    if (folder / "slow").exists():
        time.sleep(0.05)
    if quantity == {POISON} or (folder / name).exists():
        raise RuntimeError(f"{{name}} jams")
    try:
        (folder / f"{{name}}.once").unlink()
    except FileNotFoundError:
        return
    raise RuntimeError(f"{{name}} jams once")
''',
    "product/__init__.py": "",
    "product/store.py": "from saga.functions.product.store import Product, Reservation",
    "product/reserve_product.py": """
from faulty.faults import visit
from saga.functions.product.messages import ProductReserved, ReserveProduct
from saga.functions.product.store import hold_units, take_units
from saga.runtime import Rejected, function
from saga.runtime.clock import utcnow


@function
def reserve_product(command: ReserveProduct) -> ProductReserved:
    prices = take_units(command.product_id, command.quantity)
    if not prices:
        raise Rejected("insufficient_stock", "too few are left")
    hold_units(command.order_id, command.product_id, command.quantity, utcnow())
    visit("reserve_product", command.quantity)
    [(price,)] = prices
    return ProductReserved(order_id=command.order_id, total=price * command.quantity)
""",
    "product/release_product.py": """
from faulty.faults import visit
from saga.functions.product.messages import ProductReleased, ReleaseProduct
from saga.functions.product.store import Product, Reservation
from saga.runtime import function


@function
def release_product(command: ReleaseProduct) -> ProductReleased:
    freed = Reservation.update(released=True)
    freed = freed.where(Reservation.order_id == command.order_id, ~Reservation.released)
    for held in freed.returning(Reservation.product_id, Reservation.quantity).execute():
        more = Product.update(stock=Product.stock + held.quantity)
        more.where(Product.id == held.product_id).execute()
    visit("release_product")
    return ProductReleased(order_id=command.order_id)
""",
    "orchestrator/__init__.py": "",
    "orchestrator/place_order.py": f"""
from saga.functions.order.messages import CancelOrder, CompleteOrder, CreateOrder
from saga.functions.orchestrator.place_order import PlaceOrder
from saga.functions.product.messages import ReleaseProduct, ReserveProduct
from saga.functions.user.messages import ProcessPayment, RefundPayment
from saga.runtime import Retry, Saga, Step

place_order = Saga(
    "place-order",
    start=PlaceOrder,
    steps=[
        Step(CreateOrder, undo=CancelOrder),
        Step(
            ReserveProduct,
            undo=ReleaseProduct,
            retry=Retry(attempts={ATTEMPTS}, first=0.5),
            undo_retry=Retry(attempts={UNDO_ATTEMPTS}, first=0.2),  # to be seen
        ),
        Step(
            ProcessPayment,
            undo=RefundPayment,
            retry=Retry(attempts=2, first=0.05),
            timeout=3.0,
        ),
        Step(CompleteOrder),
    ],
    search=("order_id", "user_id"),
)
""",
}

Until = Callable[..., Any]
Saga = dict[str, Any]


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that tells the faulty package what to do; the package can be imported."""
    folder = tmp_path_factory.mktemp("faults")
    source = tmp_path_factory.mktemp("source")
    for name, text in PACKAGE.items():
        path = source / "faulty" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.lstrip())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(source))
        patch.setenv("FAULTS", str(folder))
        yield folder


@pytest.fixture(scope="module", params=["embedded", "kafka"])
def system(
    request: pytest.FixtureRequest, faults: Path, start_system: Callable[..., Any]
) -> Iterator[Any]:
    """One system per broker, with the faulty package, and one partition per topic."""

    def adapt(system: Any) -> None:
        for path in system.stacks.glob("*.toml"):
            text = re.sub(r"(?m)^partitions = .*$", "partitions = 1", path.read_text())
            if path.stem in ("product", "orchestrator"):
                text = text.replace("saga.functions.", "faulty.")
            path.write_text(text)

    running = start_system(broker=request.param, prepare=adapt)
    ledger.open_databases(Settings(saga_data=running.data))
    yield running
    running.saga("down")


@pytest.fixture(autouse=True)
def mended(faults: Path) -> Iterator[None]:
    """Let no test's faults last beyond it."""
    yield
    for path in faults.iterdir():
        path.unlink()


class Buyer:
    """A user and a product, and the orders of the one for the other, to be judged at the end."""

    def __init__(self, system: Any, balance: str, stock: int) -> None:
        self.system = system
        self.user = system.make_user(balance)
        self.product = system.make_product("10.00", stock)
        self._before = ledger.books()
        self._requests: dict[str, Request] = {}

    def place(self, quantity: int = 1) -> str:
        saga: Saga = self.system.order(self.user, self.product, quantity, wait=0)
        return self.hear(str(saga["saga_id"]), quantity)

    def hear(self, saga_id: str, quantity: int = 1) -> str:
        wanted = {"user_id": self.user, "product_id": self.product, "quantity": quantity}
        self._requests[saga_id] = Request(wanted, told=[saga_id], tries=1)
        return saga_id

    def cancel(self, saga_id: str) -> None:
        answer = self.system.http("DELETE", "orchestrator", f"/sagas/{saga_id}")
        assert answer.status_code == 202
        self._requests[saga_id].cancel = "accepted"

    def violations(self) -> list[str]:
        """Say what does not fit, now that all orders have ended."""
        declared: dict[str, Any] = {}
        exec(PACKAGE["orchestrator/place_order.py"], declared)
        requests = list(self._requests.values())
        return ledger.violations(requests, self._before, declared["place_order"])


def step_of(saga: Saga, name: str) -> dict[str, Any]:
    return next(step for step in saga["steps"] if step["name"] == name)


def statuses(saga: Saga) -> list[str]:
    return [step["status"] for step in saga["steps"]]


def stock_of(system: Any, product: int) -> int:
    return int(system.http("GET", "product", f"/products/{product}").json()["stock"])


def balance_of(system: Any, user: int) -> str:
    return str(system.http("GET", "user", f"/users/{user}").json()["balance"])


def have_ended(saga_ids: list[str]) -> bool:
    return saga_queries.ended(ledger.sagas(), saga_ids) == set(saga_ids)


def test_a_poisoned_order_delays_no_other_and_its_schedule_survives_kills(
    system: Any, until: Until
) -> None:
    buyer = Buyer(system, "1000000.00", 10_000)
    poisoned = buyer.place(POISON)

    def attempts() -> int:
        return int(step_of(system.saga_of(poisoned), "reserve_product")["attempts"])

    until(lambda: attempts() >= 2, "the poisoned order is tried again")
    with ThreadPoolExecutor(8) as pool:
        good = list(pool.map(lambda _: buyer.place(), range(GOOD_ORDERS)))
    until(lambda: have_ended(good), "all good orders have ended")
    states = saga_queries.find_many(ledger.sagas(), good)
    assert {state.status for state in states} == {"COMPLETED"}

    processes = system.processes()
    os.kill(processes["orchestrator.place_order"]["pid"], signal.SIGKILL)
    saga = system.ended(poisoned)
    assert saga["status"] == "COMPENSATED"
    assert saga["failure"]["code"] == "attempts_exhausted"
    assert saga["failure"]["step"] == "reserve_product"
    assert statuses(saga) == ["UNDONE", "UNDONE", "PENDING", "PENDING"]
    step = step_of(saga, "reserve_product")
    assert step["attempts"] == ATTEMPTS
    assert step["error"]["code"] == "RuntimeError"
    assert min(state.updated_at for state in states) < datetime.fromisoformat(saga["updated_at"])
    log = system.saga("logs", "product.reserve_product").stdout
    tried = re.findall(rf"{poisoned}/reserve_product/do failed, attempt (\d+)", log)
    assert sorted(set(map(int, tried))) == list(range(1, ATTEMPTS + 1))
    assert "RuntimeError: reserve_product jams" in log
    assert stock_of(system, buyer.product) == 10_000 - GOOD_ORDERS
    assert buyer.violations() == []


def test_an_undo_that_fails_once_is_tried_again_and_takes_effect_once(
    system: Any, faults: Path
) -> None:
    buyer = Buyer(system, "5.00", 3)
    (faults / "release_product.once").touch()
    saga = system.ended(buyer.place())
    assert (saga["status"], saga["failure"]["code"]) == ("COMPENSATED", "insufficient_funds")
    assert step_of(saga, "reserve_product")["undo_attempts"] == 2
    assert step_of(saga, "create_order")["undo_attempts"] == 1
    assert stock_of(system, buyer.product) == 3
    assert buyer.violations() == []


def test_an_undo_that_fails_for_good_waits_for_an_operator(
    system: Any, faults: Path, until: Until
) -> None:
    buyer = Buyer(system, "100.00", 3)
    (faults / "release_product").touch()
    system.saga("scale", "order.complete_order=0")
    saga_id = buyer.place()

    def states() -> list[str]:
        return statuses(system.saga_of(saga_id))

    until(lambda: states() == ["DONE", "DONE", "DONE", "RUNNING"], "the last step is awaited")
    buyer.cancel(saga_id)
    compensating = until(
        lambda: states() == ["DONE", "UNDOING", "UNDONE", "FAILED"] and system.saga_of(saga_id),
        "the release is being tried",
    )
    assert compensating["status"] == "COMPENSATING"
    failed = system.ended(saga_id)
    assert failed["status"] == "FAILED"
    assert statuses(failed) == ["UNDONE", "UNDO_FAILED", "UNDONE", "FAILED"]
    step = step_of(failed, "reserve_product")
    assert step["undo_attempts"] == UNDO_ATTEMPTS
    assert step["error"]["code"] == "RuntimeError"
    assert "RuntimeError: release_product jams" in system.saga("show", saga_id).stdout
    assert failed["due_at"] is None
    assert (stock_of(system, buyer.product), balance_of(system, buyer.user)) == (2, "100.00")

    # Still broken: the operator's retry is another round, and fails like the first.
    assert system.http("POST", "orchestrator", f"/sagas/{saga_id}/retry").status_code == 202
    again = system.ended(saga_id)
    assert again["status"] == "FAILED"
    assert step_of(again, "reserve_product")["undo_attempts"] == 2 * UNDO_ATTEMPTS

    (faults / "release_product").unlink()
    assert system.http("POST", "orchestrator", f"/sagas/{saga_id}/retry").status_code == 202
    mended = system.ended(saga_id)
    assert mended["status"] == "COMPENSATED"
    assert statuses(mended) == ["UNDONE", "UNDONE", "UNDONE", "FAILED"]
    assert step_of(mended, "reserve_product")["undo_attempts"] == 2 * UNDO_ATTEMPTS + 1
    assert step_of(mended, "process_payment")["undo_attempts"] == 1
    assert system.http("POST", "orchestrator", f"/sagas/{saga_id}/retry").status_code == 409
    assert (stock_of(system, buyer.product), balance_of(system, buyer.user)) == (3, "100.00")

    system.saga("scale", "order.complete_order=1")
    assert system.ended(buyer.place())["status"] == "COMPLETED"
    assert system.saga_of(saga_id) == mended
    assert buyer.violations() == []


def test_what_a_dead_function_holds_up_is_cancelled_overdue_or_goes_on_afterwards(
    system: Any, until: Until
) -> None:
    buyer = Buyer(system, "100.00", 3)
    system.saga("scale", "user.process_payment=0")
    cancelled, patient = buyer.place(), buyer.place()
    overdue = buyer.hear(start_with_deadline(system, 2.0, buyer.user, buyer.product))
    paying = ["DONE", "DONE", "RUNNING", "PENDING"]
    until(lambda: statuses(system.saga_of(cancelled)) == paying, "a payment is awaited")
    buyer.cancel(cancelled)
    expected = {
        cancelled: "cancelled",
        overdue: "deadline_exceeded",
    }
    before = {}
    for saga_id, code in expected.items():
        saga = before[saga_id] = system.ended(saga_id)
        assert (saga["status"], saga["failure"]["code"]) == ("COMPENSATED", code)
        assert statuses(saga) == ["UNDONE", "UNDONE", "UNDONE", "PENDING"]
        step = step_of(saga, "process_payment")
        assert (step["error"]["code"], step["attempts"]) == (code, 1)

    def waits() -> bool:
        error = step_of(system.saga_of(patient), "process_payment")["error"]
        return error is not None and error["code"] == "timeout"

    until(waits, "its time to answer is over")
    waiting = system.saga_of(patient)
    assert (waiting["status"], statuses(waiting)) == ("RUNNING", paying)
    assert (stock_of(system, buyer.product), balance_of(system, buyer.user)) == (2, "100.00")

    # The commands that were too late come before this order's, on the only partition.
    system.saga("scale", "user.process_payment=1")
    assert system.ended(buyer.place())["status"] == "COMPLETED"
    assert system.ended(patient)["status"] == "COMPLETED"
    assert {saga_id: system.saga_of(saga_id) for saga_id in expected} == before
    assert (stock_of(system, buyer.product), balance_of(system, buyer.user)) == (1, "80.00")
    assert buyer.violations() == []


def start_with_deadline(system: Any, seconds: float, user: int, product: int) -> str:
    """Start a saga as the adapter does, with a deadline of its own."""
    message = PlaceOrder(order_id=uuid7(), user_id=user, product_id=product, quantity=1)
    hasty = replace(place_order, deadline=seconds)
    request = Start(str(uuid7()), message)
    [started] = SagaStore(ledger.sagas()).start(hasty, [request], utcnow())
    assert not isinstance(started, Exception)
    state, commands = started
    with closing(Producer(Settings(kafka_bootstrap_servers=system.broker()))) as producer:
        producer.send(commands)
    return str(state.id)


def test_a_cancelled_saga_undoes_a_step_whose_reply_is_still_on_its_way(
    system: Any, until: Until
) -> None:
    buyer = Buyer(system, "100.00", 3)
    system.saga("scale", "orchestrator.place_order=0")
    saga = system.saga_of(buyer.place())

    def order_status() -> str | None:
        answer = system.http("GET", "order", f"/orders/{saga['order_id']}")
        return answer.json().get("status") if answer.status_code == 200 else None

    until(lambda: order_status() == "PENDING", "the order is made")
    path = f"/sagas/{saga['saga_id']}"
    buyer.cancel(saga["saga_id"])
    until(lambda: order_status() == "CANCELLED", "the order is undone")
    assert statuses(system.saga_of(saga["saga_id"]))[0] == "UNDOING"
    system.saga("scale", "orchestrator.place_order=1")
    ended = system.ended(saga["saga_id"])
    assert (ended["status"], ended["failure"]["code"]) == ("COMPENSATED", "cancelled")
    assert statuses(ended) == ["UNDONE", "PENDING", "PENDING", "PENDING"]
    assert system.http("DELETE", "orchestrator", path).status_code == 409
    assert buyer.violations() == []


@pytest.mark.parametrize("as_init", [False, True], ids=["process", "pid 1"])
def test_sigterm_ends_the_batch_and_loses_nothing(
    system: Any, faults: Path, until: Until, as_init: bool
) -> None:
    buyer = Buyer(system, "1000000.00", 10_000)
    read_all = partial(lag, Settings(kafka_bootstrap_servers=system.broker()), RESERVES, [RESERVE])
    until(lambda: read_all() == 0, "the offsets of what came before are committed")
    system.saga("scale", f"{RESERVES}=0")
    (faults / "slow").touch()
    with ThreadPoolExecutor(8) as pool:
        sagas = list(pool.map(lambda _: buyer.place(), range(60)))
    until(lambda: all_reserving(sagas), "all wait for their reservation")

    offset = committed(system, RESERVES, RESERVE)
    process = run(system, RESERVES, as_init=as_init)
    until((faults / "reserve_product.entered").exists, "a batch is begun")
    worker = only_child(process) if as_init else psutil.Process(process.pid)
    assert count_reservations(buyer.product) == 0
    worker.send_signal(signal.SIGTERM)
    told, _ = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, told
    assert "has stopped" in told
    assert "Traceback" not in told
    done = count_reservations(buyer.product)
    assert done > 0
    assert done == committed(system, RESERVES, RESERVE) - offset

    (faults / "slow").unlink()
    system.saga("scale", f"{RESERVES}=1")
    until(lambda: have_ended(sagas), "all orders have ended")
    assert {state.status for state in saga_queries.find_many(ledger.sagas(), sagas)} == {
        "COMPLETED"
    }
    assert stock_of(system, buyer.product) == 10_000 - len(sagas)
    assert buyer.violations() == []


def all_reserving(saga_ids: list[str]) -> bool:
    states = saga_queries.find_many(ledger.sagas(), saga_ids)
    return all(state.in_flight == 1 and state.awaiting for state in states)


def count_reservations(product: int) -> int:
    return int(Reservation.select().where(Reservation.product_id == product).count())


def run(system: Any, name: str, *, as_init: bool) -> "subprocess.Popen[str]":
    """Run one function in the foreground, on request as the first process of a namespace."""
    unshare = ["unshare", "--pid", "--fork", "--mount-proc"] if as_init else []
    if as_init and subprocess.run([*unshare, "true"], capture_output=True).returncode:
        missing("a PID namespace needs root, and to be permitted")
    return subprocess.Popen(
        [*unshare, SAGA, "run", name, "--data", system.data],
        env={
            **os.environ,
            "SAGA_STACKS": str(system.stacks),
            "KAFKA_SESSION_TIMEOUT_MS": "3000",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def only_child(process: "subprocess.Popen[str]") -> psutil.Process:
    [child] = psutil.Process(process.pid).children()
    return child


def committed(system: Any, group: str, topic: str) -> int:
    """Return the offset that a group has committed on a topic's only partition."""
    servers = {"bootstrap.servers": system.broker(), "group.id": group}
    with closing(Consumer(servers)) as consumer:
        [where] = consumer.committed([TopicPartition(topic, 0)], timeout=DEADLINE)
        return max(0, where.offset)
