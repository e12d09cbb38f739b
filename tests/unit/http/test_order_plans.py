"""What a page of orders costs among very many: it is read from an index, in order."""

from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

import peewee
import pytest

from saga.functions.order import store
from saga.http import order
from saga.runtime.database.connection import transaction
from saga.runtime.database.schema import bind
from support.plans import count_rows, plans, slow_plans

NOW = datetime(2026, 1, 1, tzinfo=UTC)
AFTER = str(UUID(int=100))
ASKED: list[dict[str, Any]] = [
    {"status": "PENDING"},
    {"status": "COMPLETED"},
    {"user_id": "7"},
    {"user_id": "7", "status": "PENDING"},
    {"user_id": "7", "status": "COMPLETED"},
]


@pytest.fixture
def orders(database: peewee.Database) -> peewee.Database:
    """Orders, as many as make an index worth its while."""
    bind(database, [store.Order])
    ids = [UUID(int=number) for number in range(2000)]
    rows = [(n, n, n.int % 20, 1, 2, NOW) for n in ids]
    with transaction(database):
        store.insert_order.many(database, rows)
        old = store.Order.id.not_in(ids[-50:])
        store.Order.update(status="COMPLETED").where(old).execute()
    count_rows(database)
    return database


def test_page_is_read_in_order_whatever_is_asked_for(orders: peewee.Database) -> None:
    for asked in ASKED:
        for after in (None, AFTER):
            page = order.OrderPage.model_validate({**asked, "after": after})
            assert slow_plans(orders, partial(order._list, page)) == [], asked


# PostgreSQL knows how many there are of which.
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_one_users_orders_are_found_by_the_user(orders: peewee.Database) -> None:
    page = order.OrderPage.model_validate({"user_id": "7", "status": "COMPLETED"})
    [step] = plans(orders, partial(order._list, page))
    assert "orders_user_id_id (user_id=?)" in step
