"""What `saga bench --fill` writes is what real orders leave behind."""

import pytest

from saga.runtime.database.connection import connect
from saga.runtime.database.schema import bind
from saga.runtime.inbox import InboxRow
from saga.runtime.saga_queries import page
from saga.runtime.testing.request import Request
from saga.stacks import ledger, starting
from saga.stacks.fill import fill

COUNT = 25


@pytest.fixture(autouse=True)
def _databases() -> None:
    for tables in ledger.TABLES.values():
        bind(connect("sqlite://"), tables)


def test_filled_sagas_are_right_and_nobody_has_lost_anything() -> None:
    orders = starting.seed(COUNT)
    before = ledger.books()
    assert list(fill(orders, starting.PRICE)) == [COUNT]
    states = page(ledger.sagas(), 2 * COUNT)
    requests = [Request(state.input, told=[state.id]) for state in states]
    judgement = ledger.judge_orders(requests, before)
    assert judgement.violations == []
    assert (judgement.seen["completed"], judgement.seen["compensated"]) == (22, 3)


def test_answers_are_kept_in_the_inboxes_of_all_services() -> None:
    list(fill(starting.seed(COUNT), starting.PRICE))
    counts = [
        InboxRow.select().bind(ledger.TABLES[name][0]._meta.database).count()
        for name in ("order", "product", "user")
    ]
    assert counts == [COUNT * 2, COUNT, COUNT - 3]
