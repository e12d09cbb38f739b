"""What the services' stores hold, and whether it is what the clients were told."""

from collections.abc import Mapping
from typing import NamedTuple

from .orders import MONEY, PRODUCTS, UNITS, USERS, order


class Books(NamedTuple):
    """All free units, all free money, and how many orders there are in each status."""

    units: int
    money: int
    statuses: Mapping[str, int]


OPENING = Books((PRODUCTS - 1) * UNITS, (USERS - 1) * MONEY, {})


def violations(told: Mapping[int, bool], books: Books) -> list[str]:
    """Compare the books with what clients were told: for each order's number, if it completed."""
    completed = [order(number) for number, is_so in told.items() if is_so]
    expected = {
        "units": OPENING.units - sum(one.quantity for one in completed),
        "money": OPENING.money - sum(one.total for one in completed),
        "completed": len(completed),
        "cancelled": len(told) - len(completed),
        "in another status": 0,
        "told wrongly": 0,
    }
    ends = books.statuses.get("COMPLETED", 0), books.statuses.get("CANCELLED", 0)
    found = {
        "units": books.units,
        "money": books.money,
        "completed": ends[0],
        "cancelled": ends[1],
        "in another status": sum(books.statuses.values()) - sum(ends),
        "told wrongly": sum(order(number).completes != is_so for number, is_so in told.items()),
    }
    return [f"{k}: {found[k]}, not {expected[k]}" for k in expected if found[k] != expected[k]]
