"""How `saga bench` starts its sagas: for buyers of its own, at once or at a rate."""

import time
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import peewee
from uuid_utils.compat import uuid7

from saga.functions.orchestrator.place_order import PlaceOrder, place_order
from saga.functions.product.store import Product
from saga.functions.user.store import User
from saga.runtime import saga_queries
from saga.runtime.clock import utcnow
from saga.runtime.errors import Conflict
from saga.runtime.saga_store import SagaStore, Start
from saga.runtime.settings import Settings
from saga.runtime.testing.request import Request

from . import ledger
from .load import Load

BUYERS = 100
QUANTITY = 2
PRICE = Decimal("9.99")
TOGETHER = 0.002  # seconds; starts that fall due within it share a transaction and a flush
HTTP_CLIENTS = 8


def seed(count: int) -> list[PlaceOrder]:
    """Make buyers and products that can carry `count` orders, and the orders."""
    run = uuid7().hex[-12:]
    each = -(-count // BUYERS) * QUANTITY
    buyers = [
        {"name": f"bench {n}", "email": f"{run}.{n}@bench.example", "balance": PRICE * each}
        for n in range(BUYERS)
    ]
    goods = [{"name": f"bench {run} {n}", "price": PRICE, "stock": each} for n in range(BUYERS)]
    with User._meta.database.atomic(), Product._meta.database.atomic():
        users = [User.insert(row).execute() for row in buyers]
        products = [Product.insert(row).execute() for row in goods]
    return [
        PlaceOrder(
            order_id=uuid7(),
            user_id=users[n % BUYERS],
            product_id=products[n % BUYERS],
            quantity=QUANTITY,
        )
        for n in range(count)
    ]


def start(
    orders: Sequence[PlaceOrder], rate: float | None, settings: Settings
) -> Iterator[Request]:
    """Start sagas as `POST /orders` does, a row and then the command, without HTTP's cost."""
    from saga.runtime.kafka.producer import Producer

    producer = Producer(settings, "bench")
    waiting: list[Start] = []
    due = time.monotonic()
    for order in _paced(orders, rate):
        waiting.append(Start(str(uuid7()), order))
        if time.monotonic() >= due:
            yield from _start_now(waiting, producer)
            waiting, due = [], time.monotonic() + TOGETHER
    yield from _start_now(waiting, producer)
    producer.close()


def _start_now(waiting: list[Start], producer: Any) -> Iterator[Request]:
    for chunk in peewee.chunked(waiting, saga_queries.CHUNK):
        transitions = SagaStore(ledger.sagas()).start(place_order, chunk, utcnow())
        producer.send([c for t in transitions if not isinstance(t, Conflict) for c in t[1]])
        for start in chunk:
            yield Request(start.message.model_dump(mode="json"), told=[start.saga_id], tries=1)


def start_by_http(
    orders: Sequence[PlaceOrder], rate: float | None, address: tuple[str, int]
) -> Iterator[Request]:
    """Start sagas through `POST /orders`; yield the request of each once it is accepted.

    Raises `SagaError` for an answer that was not promised.
    """
    wishes = (Request(o.model_dump(exclude={"order_id"}), key=str(uuid7())) for o in orders)
    with Load(address, wishes, HTTP_CLIENTS, rate) as load:
        for number in range(len(orders)):
            while load.busy and not any(r.told for r in load.requests[number : number + 1]):
                time.sleep(TOGETHER)
            load.check()
            yield load.requests[number]


def _paced(orders: Sequence[PlaceOrder], rate: float | None) -> Iterator[PlaceOrder]:
    """Yield orders at `rate` per second, on a fixed schedule that a slow start does not shift."""
    began = time.monotonic()
    for number, order in enumerate(orders):
        if rate is not None:
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
        yield order
