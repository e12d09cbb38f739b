"""Whether the stores hold what the clients were told."""

import pytest

from benchmarks.books import OPENING, Books, violations
from benchmarks.orders import LACKS_MONEY, LACKS_UNITS, order

TOLD = {0: True, 1: True, LACKS_UNITS: False, LACKS_MONEY: False}
UNITS = OPENING.units - order(0).quantity - order(1).quantity
MONEY = OPENING.money - order(0).total - order(1).total
RIGHT = Books(UNITS, MONEY, {"COMPLETED": 2, "CANCELLED": 2})


def test_books_that_agree_are_right():
    assert violations(TOLD, RIGHT) == []
    assert violations({}, OPENING) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"units": UNITS + 1}, "units: "),
        ({"money": MONEY - 10}, "money: "),
        ({"statuses": {"COMPLETED": 1, "CANCELLED": 2}}, "completed: 1, not 2"),
        ({"statuses": {"COMPLETED": 2, "CANCELLED": 3}}, "cancelled: 3, not 2"),
        (
            {"statuses": {"COMPLETED": 2, "CANCELLED": 2, "PENDING": 1}},
            "in another status: 1, not 0",
        ),
    ],
)
def test_books_that_differ_are_told(change, words):
    [wrong] = violations(TOLD, RIGHT._replace(**change))
    assert wrong.startswith(words)


def test_order_that_was_told_otherwise_than_it_has_to_end_is_told():
    books = Books(OPENING.units, OPENING.money, {"CANCELLED": 1})
    assert violations({0: False}, books) == ["told wrongly: 1, not 0"]
