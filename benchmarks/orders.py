"""The orders that every system is given: an order's number decides all about it.

Of twenty, one is for a product that has no units, and one is of a user who has no money.
"""

from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

USERS = 500  # the first of them has no money
PRODUCTS = 200  # the first of them has no units
UNITS = 10_000_000  # of each other product
MONEY = 1_000_000_000  # of each other user
PRICE = 10  # of each product's unit

LACKS_UNITS, LACKS_MONEY = 7, 13  # what a number leaves when it is divided by
PATTERN = 20


class Order(NamedTuple):
    """An order; `user` and `product` count from 0."""

    number: int
    user: int
    product: int
    quantity: int

    @property
    def total(self) -> int:
        """What it costs."""
        return self.quantity * PRICE

    @property
    def completes(self) -> bool:
        """Whether nothing is lacking."""
        return self.user > 0 and self.product > 0


def order(number: int) -> Order:
    """Return the order of a number."""
    rest = number % PATTERN
    # Primes: neighbours in number are none in the tables.
    user = 1 + number * 7919 % (USERS - 1)
    product = 1 + number * 104729 % (PRODUCTS - 1)
    return Order(
        number,
        0 if rest == LACKS_MONEY else user,
        0 if rest == LACKS_UNITS else product,
        1 + number % 3,
    )


def orders() -> Iterator[Order]:
    """Yield one order after the other, without end."""
    return map(order, count())
