"""What the services of the other engines write."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.books import OPENING, Books
from benchmarks.orders import LACKS_MONEY, LACKS_UNITS, order
from benchmarks.peer_store import PeerStore, fields


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PeerStore]:
    store = PeerStore(tmp_path)
    store.create()
    yield store
    store.close()


def test_books_are_opened_as_they_have_to_be(store):
    assert store.books() == OPENING


@pytest.mark.parametrize(
    ("steps", "units", "money", "status"),
    [
        (["create"], 0, 0, "PENDING"),
        (["create", "reserve"], 3, 0, "PENDING"),
        (["create", "reserve", "pay", "complete"], 3, 30, "COMPLETED"),
        (["create", "reserve", "release", "cancel"], 0, 0, "CANCELLED"),
    ],
)
def test_steps_write_what_they_say(store, steps, units, money, status):
    assert all(store.do(step, fields(order(2))) for step in steps)
    assert store.books() == Books(OPENING.units - units, OPENING.money - money, {status: 1})


@pytest.mark.parametrize(("number", "step"), [(LACKS_UNITS, "reserve"), (LACKS_MONEY, "pay")])
def test_step_that_there_is_not_enough_for_writes_nothing(store, number, step):
    assert not store.do(step, fields(order(number)))
    assert store.books() == OPENING


def test_another_process_sees_what_was_written(store, tmp_path):
    store.do("create", fields(order(1)))
    other = PeerStore(tmp_path)
    assert other.books().statuses == {"PENDING": 1}
    other.close()
