"""Two workers on one database, on PostgreSQL: SQLite has one writer anyway."""

import threading
from decimal import Decimal
from uuid import UUID

import pytest

from saga.functions.user.store import Payment, User
from saga.runtime.database.schema import bind
from saga.runtime.envelope import Envelope, Record, decode
from saga.runtime.function import load
from saga.runtime.worker import Worker

USERS, ORDERS = 10, 200


def payment(number: int, user: int) -> Record:
    order = UUID(int=number)
    data = f'{{"order_id": "{order}", "user_id": {user}, "total": "1.00"}}'
    envelope = Envelope(
        "user.pay", f"{number}/process_payment/do", "ProcessPayment", "/test", "", data
    )
    return envelope.record()


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_batches_that_want_the_same_rows_in_another_order_all_succeed(database) -> None:
    function = load("saga.functions.user.process_payment")
    bind(database, function.tables())
    for user in range(1, USERS + 1):
        User.create(name="Ann", email=f"{user}@example.com", balance=Decimal("1000.00"))
    # One batch goes through the users upwards, the other downwards.
    up = [payment(n, n % USERS + 1) for n in range(ORDERS)]
    down = [payment(ORDERS + n, USERS - n % USERS) for n in range(ORDERS)]
    replies: list[Record] = []

    def work(batch: list[Record]) -> None:
        worker = Worker(function, database)
        worker.stopwatch = lambda: 0.0  # a slow machine must not end its batches
        for begin in range(0, ORDERS, 50):
            replies.extend(worker.process(batch[begin : begin + 50]))
        database.close()

    threads = [threading.Thread(target=work, args=(batch,)) for batch in (up, down)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [decode(reply).outcome for reply in replies] == ["done"] * (2 * ORDERS)
    assert Payment.select().count() == 2 * ORDERS
