"""The orders that every system is given."""

from collections import Counter
from itertools import islice

from benchmarks.orders import PRODUCTS, USERS, order, orders

MANY = [order(number) for number in range(2_000)]


def test_one_of_twenty_lacks_units_and_another_one_lacks_money():
    lacking = Counter((one.product == 0, one.user == 0) for one in MANY)
    assert lacking == {(False, False): 1_800, (True, False): 100, (False, True): 100}


def test_those_that_lack_nothing_complete():
    assert sum(one.completes for one in MANY) == 1_800


def test_all_users_and_products_get_orders():
    assert {one.user for one in MANY} == set(range(USERS))
    assert {one.product for one in MANY} == set(range(PRODUCTS))


def test_total_is_what_all_units_cost():
    assert [order(number).total for number in range(3)] == [10, 20, 30]


def test_orders_are_numbered():
    assert [one.number for one in islice(orders(), 3)] == [0, 1, 2]
