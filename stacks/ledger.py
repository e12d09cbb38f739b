"""The judge of the order system: what any client could complain about, whatever was killed.

It compares what was asked with the saga, its order, its reservation and its payment, and counts
each user's money and each product's units, which may only move between places.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from math import inf
from typing import Any
from uuid import UUID

import peewee

from saga.functions.orchestrator.place_order import place_order
from saga.functions.order.store import CANCELLED, COMPLETED, PENDING, Order
from saga.functions.product.store import ClosedProduct, Product, Reservation
from saga.functions.user.store import ClosedUser, Payment, User
from saga.runtime import saga_queries, saga_store
from saga.runtime.database.connection import connect
from saga.runtime.database.schema import Table, bind
from saga.runtime.database.statements import one_of
from saga.runtime.envelope import Action, message_id
from saga.runtime.inbox import InboxRow
from saga.runtime.saga import Saga
from saga.runtime.saga_rows import SagaRow
from saga.runtime.saga_state import IN_FLIGHT
from saga.runtime.settings import Settings
from saga.runtime.testing.judgement import EXCUSES, Case, Judgement, judge, sagas_of
from saga.runtime.testing.request import Request
from saga.runtime.testing.sending import sendings

TABLES: dict[str, list[type[Table]]] = {
    "orchestrator": saga_store.TABLES,
    "order": [Order],
    "product": [Product, ClosedProduct, Reservation],
    "user": [User, ClosedUser, Payment],
}
KINDS = ("completed", "compensated", "cancels", "refunds", "releases", "fences", "retries")
ACTIONS: tuple[Action, ...] = ("do", "undo")
EXCUSED = 0.02  # of the requests


@dataclass(frozen=True)
class Books:
    """Who has what: what is free, of who is not closed, by user and product; all with the held."""

    balances: Mapping[int, Decimal]
    stocks: Mapping[int, int]
    money: Mapping[int, Decimal]
    units: Mapping[int, int]
    prices: Mapping[int, Decimal]
    sagas: frozenset[str]
    orders: frozenset[UUID]


@dataclass(frozen=True)
class Effects:
    """What one order has left behind in the three services."""

    order: Any
    reservation: Any
    payment: Any


@dataclass(frozen=True)
class Asked:
    """How much all clients together have asked for: units by product, money by user."""

    units: Mapping[int, int]
    money: Mapping[int, Decimal]


def open_databases(settings: Settings) -> None:
    """Bind all tables of the order system to its databases."""
    for service, tables in TABLES.items():
        bind(connect(settings.database_url(service)), tables)


def sagas() -> peewee.Database:
    """Return the database of the sagas, as it is bound."""
    database: peewee.Database = SagaRow._meta.database
    return database


def in_flight(before: Books) -> int:
    """Count the sagas that have begun since and have not ended, as far as can be read."""
    query = SagaRow.select(SagaRow.id)
    running = query.where(SagaRow.status.in_([*IN_FLIGHT, "UNREADABLE"]))
    return sum(saga_id not in before.sagas for (saga_id,) in running.tuples())


def books() -> Books:
    """Take stock: before a run, for `violations` to compare with."""
    balances, stocks = User.select(User.id, User.balance), Product.select(Product.id, Product.stock)
    paid = Payment.select(Payment.user_id, Payment.amount).where(~Payment.refunded)
    held = Reservation.select(Reservation.product_id, Reservation.quantity)
    held = held.where(~Reservation.released)
    return Books(
        dict(balances.tuples()),
        dict(stocks.tuples()),
        _whole(paid, balances, ClosedUser.select(ClosedUser.id, ClosedUser.balance)),
        _whole(held, stocks, ClosedProduct.select(ClosedProduct.id, ClosedProduct.stock)),
        dict(Product.select(Product.id, Product.price).tuples()),
        sagas_of(place_order, sagas()),
        frozenset(order_id for (order_id,) in Order.select(Order.id).tuples()),
    )


def violations(requests: Sequence[Request], before: Books, saga: Saga = place_order) -> list[str]:
    """Say what a client could complain about, now that all is at rest."""
    return judge_orders(requests, before, saga=saga).violations


def judge_orders(
    requests: Sequence[Request],
    before: Books,
    excuses: Collection[str] = EXCUSES,
    excused: float = EXCUSED,
    saga: Saga = place_order,
) -> Judgement:
    """Judge all orders that were not there `before`, and count what was seen of which kind.

    The share `excused` of the requests, or two of them, may have ended by one of the `excuses`:
    attempts or time used up.
    """
    found = judge(saga, sagas(), requests, before.sagas, excuses)
    asked, after = _asked(requests, before), books()
    effects = _effects(before.orders)
    for case in found.cases:
        left = effects.pop(str(case.state.input.get("order_id")), Effects(None, None, None))
        found.add(case, _effect_problems(case, left, before))
        found.add(case, _reason_problems(case, asked, before, after, excuses))
        found.seen["refunds"] += bool(left.payment and left.payment.refunded)
        found.seen["releases"] += bool(left.reservation and left.reservation.released)
    found.violations += [
        f"order {order_id}: nobody asked for it"
        for order_id, left in effects.items()
        if not _placed_without_a_saga(left)
    ]
    found.violations += _sum_problems(before, after)
    if found.seen["excused"] > max(2, excused * len(requests)):
        found.violations.append(f"{found.seen['excused']} of {len(requests)} sagas gave up")
    found.seen.update(_inbox_kinds(found.cases))
    return found


def unseen(seen: Mapping[str, int], *more: str) -> list[str]:
    """Say of which kinds there was nothing: a run has shown nothing of what it has not seen."""
    return [kind for kind in (*KINDS, *more) if not seen.get(kind)]


def _effect_problems(case: Case, left: Effects, before: Books) -> Iterator[str]:
    """Compare what was asked with what the services have stored."""
    wanted, state = case.request.wanted, case.state
    user, product = wanted["user_id"], wanted["product_id"]
    total = before.prices.get(product, Decimal(0)) * wanted["quantity"]
    asked = {"user_id": user, "product_id": product, "quantity": wanted["quantity"]}
    yield from _differences(left.order, "order", asked | {"saga_id": UUID(state.id)})
    yield from _unchanged(left.order)
    held = {"product_id": product, "quantity": wanted["quantity"]}
    yield from _differences(left.reservation, "reservation", held)
    yield from _differences(left.payment, "payment", {"user_id": user, "amount": total})
    if state.status == "COMPLETED":
        yield from _differences(left.order, "order", {"status": COMPLETED, "total": total})
        yield from _missing(left)
        yield from _differences(left.reservation, "reservation", {"released": False})
        yield from _differences(left.payment, "payment", {"refunded": False})
    if state.status == "COMPENSATED":
        yield from _differences(left.order, "order", {"status": CANCELLED})
        yield from _differences(left.reservation, "reservation", {"released": True})
        yield from _differences(left.payment, "payment", {"refunded": True})


def _differences(row: Any, what: str, wanted: Mapping[str, Any]) -> Iterator[str]:
    if row is None:
        return
    for name, value in wanted.items():
        if getattr(row, name) != value:
            yield f"the {name} of its {what} is {getattr(row, name)}, not {value}"


def _unchanged(order: Any) -> Iterator[str]:
    if order is not None and order.status != PENDING and order.updated_at == order.created_at:
        yield f"its order is {order.status}, and was not updated"


def _placed_without_a_saga(left: Effects) -> bool:
    """Tell an order of `POST /orders` at the order service: it holds nothing, and waits."""
    alone = left.reservation is None and left.payment is None
    return alone and left.order.saga_id is None and left.order.status == PENDING


def _missing(left: Effects) -> Iterator[str]:
    for what in ("order", "reservation", "payment"):
        if getattr(left, what) is None:
            yield f"COMPLETED without {what}"


def _reason_problems(
    case: Case, asked: Asked, before: Books, after: Books, excuses: Collection[str]
) -> Iterator[str]:
    """See that a refusal has a reason: nobody who can pay for what is there is sent away."""
    wanted, code, failure = case.request.wanted, case.code, case.state.failure
    user, product = wanted["user_id"], wanted["product_id"]
    stock, balance = before.stocks.get(product, inf), before.balances.get(user, inf)
    # What was closed meanwhile was there for some orders, and for others not.
    no_product = product not in before.stocks or product not in after.stocks
    no_user = user not in before.balances or user not in after.balances
    reasons = {
        ("reserve_product", "product_not_found"): no_product,
        ("reserve_product", "insufficient_stock"): asked.units[product] > stock,
        ("process_payment", "user_not_found"): no_user,
        ("process_payment", "insufficient_funds"): asked.money[user] > balance,
    }
    # Whether anybody asked for a cancellation is looked at for every saga.
    if failure is None or code == "cancelled" or code in excuses:
        return
    if not reasons.get((failure.step, code)):
        yield f"refused in {failure.step} by {code}, for which there is no reason"


def _asked(requests: Sequence[Request], before: Books) -> Asked:
    """Add up what all clients have asked for, of each product and from each user."""
    units: dict[int, int] = defaultdict(int)
    money: dict[int, Decimal] = defaultdict(Decimal)
    for wanted in (request.wanted for request in requests):
        product, quantity = wanted["product_id"], wanted["quantity"]
        units[product] += quantity
        money[wanted["user_id"]] += before.prices.get(product, Decimal(0)) * quantity
    return Asked(units, money)


def _effects(before: frozenset[UUID]) -> dict[str, Effects]:
    """Return what has come to each order since, also where only one service knows of it."""
    keys = (Order.id, Reservation.order_id, Payment.order_id)
    known = {order_id for key in keys for (order_id,) in key.model.select(key).tuples()}
    new = known - before
    rows = [{getattr(row, key.name): row for row in _rows(key, new)} for key in keys]
    # By text: a saga's row may have no UUID.
    return {str(key): Effects(*(found.get(key) for found in rows)) for key in new}


def _rows(key: Any, ids: Iterable[UUID]) -> Iterator[Any]:
    for chunk in peewee.chunked(ids, saga_queries.CHUNK):
        yield from key.model.select().where(key.in_(chunk))


def _sum_problems(before: Books, after: Books) -> Iterator[str]:
    """Each user's money and each product's units are what they were, and nothing is owed."""
    for what, was, now, free in (
        ("money of user", before.money, after.money, after.balances),
        ("units of product", before.units, after.units, after.stocks),
    ):
        for number, amount in was.items():
            if now.get(number) != amount:
                yield f"sums: {what} {number} was {amount} and is {now.get(number)}"
        yield from (f"{what} {number}: {left} is free" for number, left in free.items() if left < 0)


def _inbox_kinds(cases: Sequence[Case]) -> Iterator[str]:
    """Say of what kinds the answers are that the services have given to these sagas.

    A fence refused a do whose undo came first; a do that was sent again when its answer was there
    already was a duplicate, and answered.
    """
    answered_at: dict[str, str] = {}
    for command_id, kind, time in _inboxes({case.state.id for case in cases}):
        answered_at[command_id] = time
        if kind == "Fenced":
            yield "fences"
    for saga_id, sending in ((c.state.id, one) for c in cases for one in sendings(c.path)):
        time = answered_at.get(message_id(saga_id, sending.step, "do"), "")
        if sending.status == "RUNNING" and time and datetime.fromisoformat(time) < sending.at:
            yield "duplicates"


def _inboxes(saga_ids: set[str]) -> Iterator[tuple[str, str, str]]:
    """Yield the ids, types and times of the answers that the three services have given."""
    query = InboxRow.select(InboxRow.id, InboxRow.type, InboxRow.time)
    commands = [
        message_id(saga_id, step.name, action)
        for saga_id in sorted(saga_ids)
        for step in place_order.steps
        for action in ACTIONS
    ]
    for database in {table._meta.database for table in (Order, Product, User)}:
        for chunk in peewee.chunked(commands, saga_queries.CHUNK):
            yield from query.bind(database).where(one_of(InboxRow.id, chunk)).tuples()


def _whole(held: Any, *free: Any) -> dict[Any, Any]:
    whole = {owner: amount for query in free for owner, amount in query.tuples()}
    for owner, amount in held.tuples():
        if owner in whole:
            whole[owner] += amount
    return whole
