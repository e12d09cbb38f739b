"""`saga bench --fill`: order sagas that have ended, written straight into the services' databases.

They are as real ones leave them, with their effects and answers, as if the system had run for long.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from pydantic import BaseModel
from uuid_utils.compat import uuid7

from saga.functions.orchestrator.place_order import PlaceOrder, place_order
from saga.functions.order.store import CANCELLED, COMPLETED, Order
from saga.functions.product.store import Product, hold_units, take_units
from saga.functions.user.store import User, keep_payment, take_money
from saga.runtime import Event, Table, inbox, prepared, saga_rows, transition, utcnow
from saga.runtime.database.connection import transaction
from saga.runtime.database.schema import create_missing
from saga.runtime.envelope import Envelope, Outcome, Reply, read_command_id
from saga.runtime.inbox import Answer, InboxRow
from saga.runtime.observer import Applied
from saga.runtime.problem import Problem
from saga.runtime.saga_history import recorded
from saga.runtime.saga_queries import CHUNK
from saga.runtime.saga_search import add_failures, add_values
from saga.runtime.saga_state import SagaState, to_json

from . import ledger

REFUSED = 11  # one of so many orders, and of each user's, is for a product that there is not
NO_PRODUCT = 0
PATTERN = PlaceOrder(order_id=UUID(int=0), user_id=0, product_id=NO_PRODUCT, quantity=1)
STEP_TIME = timedelta(milliseconds=3)
EVENTS: dict[str, type[Event]] = {
    command.__name__: command.event
    for step in place_order.steps
    for command in (step.command, step.undo)
    if command is not None
}
SERVICES: dict[str, type[Table]] = {"order": Order, "product": Product, "user": User}


class Ended(NamedTuple):
    """A saga that has ended, as a pattern for many, and what its commands were answered."""

    state: SagaState
    answers: list[tuple[Envelope, Answer]]

    @property
    def completed(self) -> bool:
        """Whether nothing was refused."""
        return self.state.status == "COMPLETED"


def fill(orders: Sequence[PlaceOrder], price: Decimal) -> Iterator[int]:
    """Write an ended saga for each order; yield how many are written so far.

    The orders' users and products are there, and have enough.
    """
    databases = [ledger.sagas(), *(table._meta.database for table in SERVICES.values())]
    for database in databases[1:]:
        create_missing(database, [InboxRow])
    for first in range(0, len(orders), CHUNK):
        chunk = orders[first : first + CHUNK]
        with ExitStack() as stack:
            for database in databases:
                stack.enter_context(transaction(database))
            _write(chunk, price)
        yield first + len(chunk)


def _write(orders: Sequence[PlaceOrder], price: Decimal) -> None:
    total, now = price * orders[0].quantity, utcnow()
    refused, completed = _ended(total, now, "rejected"), _ended(total, now, "done")
    sagas = [
        (uuid7(), order, completed if number % REFUSED else refused)
        for number, order in enumerate(orders)
    ]
    states = [
        replace(pattern.state, id=str(saga_id), input=_asked(order, pattern))
        for saga_id, order, pattern in sagas
    ]
    rows = [(s.id, s.status, s.due_at, to_json(s), s.name, None, None) for s in states]
    saga_rows.insert.many(ledger.sagas(), rows)
    add_values(ledger.sagas(), place_order, states)
    add_failures(
        ledger.sagas(), [Applied(None, replace(state, failure=None), state) for state in states]
    )
    for service, table in SERVICES.items():
        inbox.save(table._meta.database, list(_answers(service, sagas)))
    _insert_order.many(
        Order._meta.database,
        [
            (order.order_id, saga_id, order.user_id, asked["product_id"], order.quantity)
            + ((total, COMPLETED) if pattern.completed else (None, CANCELLED))
            + (now, now + STEP_TIME)
            for saga_id, order, pattern in sagas
            if (asked := _asked(order, pattern))
        ],
    )
    _take([order for _, order, pattern in sagas if pattern.completed], total, now)


def _asked(order: PlaceOrder, pattern: Ended) -> dict[str, Any]:
    asked = order.model_dump(mode="json")
    return asked if pattern.completed else {**asked, "product_id": NO_PRODUCT}


def _answers(
    service: str, sagas: Sequence[tuple[UUID, PlaceOrder, Ended]]
) -> Iterator[tuple[str, Answer]]:
    for saga_id, order, pattern in sagas:
        for command, answer in pattern.answers:
            if command.topic.startswith(service):
                data = answer.data.replace(str(PATTERN.order_id), str(order.order_id))
                key = command.id.replace(pattern.state.id, str(saga_id))
                yield key, answer._replace(data=data)


def _take(orders: Sequence[PlaceOrder], total: Decimal, now: datetime) -> None:
    """Move units and money from who has them to what the orders hold."""
    units = [(order.order_id, order.product_id, order.quantity, now) for order in orders]
    hold_units.many(Product._meta.database, units)
    for product, number in Counter(order.product_id for order in orders).items():
        take_units(product, number * orders[0].quantity)
    paid = [(order.order_id, order.user_id, total, now) for order in orders]
    keep_payment.many(User._meta.database, paid)
    for user, number in Counter(order.user_id for order in orders).items():
        take_money(user, number * total)


def _ended(total: Decimal, now: datetime, outcome: Outcome) -> Ended:
    """Lead a saga to its end; its second step, `reserve_product`, has this outcome."""
    answers = []
    state, commands = transition.start(place_order, str(UUID(int=1)), PATTERN, now)
    state = recorded(None, state)
    while commands:
        now += STEP_TIME
        [command] = commands
        _, step, action = read_command_id(command.id)
        refused = step == "reserve_product" and outcome == "rejected"
        answer = _answer(command, total, now, "rejected" if refused else "done")
        answers.append((command, answer))
        reply = Reply(state.id, step, action, answer.outcome, command.attempt, answer.data)
        after, commands = transition.on_reply(place_order, state, reply, now)
        state = recorded(state, after)
    return Ended(state, answers)


def _answer(command: Envelope, total: Decimal, now: datetime, outcome: Outcome) -> Answer:
    if outcome == "rejected":
        body: BaseModel = Problem(code="product_not_found", message="there is no such product")
        kind = f"{command.type}.Rejected"
    else:
        event = EVENTS[command.type]
        body = event.model_validate({"order_id": PATTERN.order_id, "total": total})
        kind = event.__name__
    return Answer(kind, outcome, now.isoformat(), body.model_dump_json())


@prepared
def _insert_order(
    order_id: UUID,
    saga_id: UUID,
    user_id: int,
    product_id: int,
    quantity: int,
    total: Decimal | None,
    status: str,
    created_at: datetime,
    updated_at: datetime,
) -> Any:
    return Order.insert(
        id=order_id,
        saga_id=saga_id,
        user_id=user_id,
        product_id=product_id,
        quantity=quantity,
        total=total,
        status=status,
        created_at=created_at,
        updated_at=updated_at,
    )
