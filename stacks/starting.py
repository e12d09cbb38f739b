"""How `saga bench` starts its sagas: for buyers of its own, at once or at a rate."""

import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import peewee
from uuid_utils.compat import uuid7

from saga.functions.orchestrator.place_order import PlaceOrder, place_order
from saga.functions.product.store import Product
from saga.functions.user.store import User
from saga.runtime import saga_queries
from saga.runtime.clock import utcnow
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


class Started(NamedTuple):
    """The request of a saga that is started, and the moment at which it was to be."""

    request: Request
    due: datetime


def start(
    orders: Sequence[PlaceOrder], rate: float | None, settings: Settings
) -> Iterator[Started]:
    """Start sagas as `POST /orders` does, a row and then the command, without HTTP's cost."""
    from saga.runtime.kafka.producer import Producer

    producer = Producer(settings)
    waiting: list[tuple[Start, datetime]] = []
    flush_at = time.monotonic()
    for order, due in _paced(orders, rate):
        waiting.append((Start(str(uuid7()), order), due))
        if time.monotonic() >= flush_at:
            yield from _start_now(waiting, producer)
            waiting, flush_at = [], time.monotonic() + TOGETHER
    yield from _start_now(waiting, producer)
    producer.close()


def _start_now(waiting: list[tuple[Start, datetime]], producer: Any) -> Iterator[Started]:
    for chunk in peewee.chunked(waiting, saga_queries.CHUNK):
        starts = [start for start, _ in chunk]
        transitions = SagaStore(ledger.sagas()).start(place_order, starts, utcnow())
        producer.send([c for t in transitions if not isinstance(t, Exception) for c in t[1]])
        for start, due in chunk:
            wanted = start.message.model_dump(mode="json")
            yield Started(Request(wanted, told=[start.saga_id], tries=1), due)


def start_by_http(
    orders: Sequence[PlaceOrder], rate: float | None, address: tuple[str, int]
) -> Iterator[Started]:
    """Start sagas through `POST /orders`; yield each once its request is accepted.

    Raises `SagaError` for an answer that was not promised.
    """
    wishes = [Request(o.model_dump(exclude={"order_id"}), key=str(uuid7())) for o in orders]
    began = utcnow()
    with Load(address, wishes, HTTP_CLIENTS, rate) as load:
        for number, request in enumerate(wishes):
            while load.busy and not request.told:
                time.sleep(TOGETHER)
            load.check()
            yield Started(request, due(began, number, rate))


def due(began: datetime, number: int, rate: float | None) -> datetime:
    """Return when a saga is to start, at `rate` per second: without one, all at once."""
    return began + timedelta(seconds=number / rate) if rate is not None else began


def _paced(
    orders: Sequence[PlaceOrder], rate: float | None
) -> Iterator[tuple[PlaceOrder, datetime]]:
    """Yield orders when they are due, on a schedule that a slow start does not shift."""
    began, began_at = time.monotonic(), utcnow()
    for number, order in enumerate(orders):
        if rate is not None:
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
        yield order, due(began_at, number, rate)
