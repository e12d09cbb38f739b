"""What may only move between places, whatever is killed: units of stock, and money."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

import peewee

from saga.functions.order.store import Order
from saga.functions.product.store import Product, Reservation
from saga.functions.user.store import Payment, User
from saga.runtime import saga_queries, saga_store
from saga.runtime.database.connection import connect
from saga.runtime.database.schema import Table, bind
from saga.runtime.saga_state import SagaState
from saga.runtime.settings import Settings

TABLES: dict[str, list[type[Table]]] = {
    "orchestrator": saga_store.TABLES,
    "order": [Order],
    "product": [Product, Reservation],
    "user": [User, Payment],
}
ORDER_STATUS = {"COMPLETED": "COMPLETED", "COMPENSATED": "CANCELLED"}


@dataclass(frozen=True)
class Totals:
    """Free and held units, and balances and payments, each in one sum."""

    units: int
    money: Decimal


def open_databases(settings: Settings) -> None:
    """Bind all tables of the order system to its databases."""
    for service, tables in TABLES.items():
        bind(connect(settings.database_url(service)), tables)


def sagas() -> peewee.Database:
    """Return the database of the sagas, as it is bound."""
    database: peewee.Database = saga_store.SagaRow._meta.database
    return database


def totals() -> Totals:
    """Add up what is free and what orders hold."""
    held = Reservation.select(peewee.fn.SUM(Reservation.quantity)).where(~Reservation.released)
    paid = Payment.select(peewee.fn.SUM(Payment.amount)).where(~Payment.refunded)
    stock = Product.select(peewee.fn.SUM(Product.stock)).scalar() or 0
    balance = User.select(peewee.fn.SUM(User.balance)).scalar() or 0
    return Totals(int(stock + (held.scalar() or 0)), Decimal(balance + (paid.scalar() or 0)))


def violations(saga_ids: Sequence[str], before: Totals) -> list[str]:
    """Say what does not fit: sagas that have not ended, orders, reservations, payments, sums.

    An order that completed holds its units and its payment once; one that was cancelled holds none.
    """
    found = []
    states = {state.id: state for state in saga_queries.find_many(sagas(), saga_ids)}
    orders = {str(row.saga_id): row for row in _orders(saga_ids)}
    held = _sums(Reservation, Reservation.quantity, ~Reservation.released)
    paid = _sums(Payment, Payment.amount, ~Payment.refunded)
    for saga_id in saga_ids:
        state, order = states.get(saga_id), orders.get(saga_id)
        if problem := _violation(state, order, held, paid):
            found.append(f"saga {saga_id}: {problem}")
    after = totals()
    if after != before:
        found.append(f"sums: {before} has become {after}")
    return found


def _violation(
    state: SagaState | None, order: Any, held: dict[Any, Any], paid: dict[Any, Any]
) -> str | None:
    if state is None:
        return "accepted, but there is no row"
    if state.status not in ORDER_STATUS:
        return f"has not ended: {state.status}"
    completed = state.status == "COMPLETED"
    order_id = UUID(state.input["order_id"])
    units, money = held.get(order_id, 0), paid.get(order_id, Decimal(0))
    if order is None:
        # The fence may have refused the very creation of an order that was undone.
        if completed or units or money:
            return f"{state.status} without an order, and {units} units and {money} are held"
        return None
    if order.status != ORDER_STATUS[state.status]:
        return f"{state.status}, but its order is {order.status}"
    wanted = (order.quantity, order.total) if completed else (0, Decimal(0))
    if (units, money) != wanted:
        return f"{state.status}, but its order holds {units} units and {money}, not {wanted}"
    return None


def _orders(saga_ids: Sequence[str]) -> list[Any]:
    chunks = peewee.chunked(saga_ids, saga_queries.CHUNK)
    return [row for chunk in chunks for row in Order.select().where(Order.saga_id.in_(chunk))]


def _sums(table: Any, amount: Any, condition: Any) -> dict[Any, Any]:
    return dict(table.select(table.order_id, amount).where(condition).tuples())
