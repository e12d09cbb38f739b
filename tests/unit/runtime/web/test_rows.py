"""Rows as a REST API shows them."""

import peewee
import pytest
from pydantic import BaseModel, ConfigDict
from sanic.exceptions import NotFound

from saga.runtime import Table
from saga.runtime.database.schema import bind
from saga.runtime.errors import Conflict
from saga.runtime.web.paging import NumberedPage
from saga.runtime.web.rows import change_row, delete_row, get_row, list_rows


class Cup(Table):
    size = peewee.IntegerField()


class ShownCup(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    size: int


@pytest.fixture(autouse=True)
def _cups(database):
    bind(database, [Cup])
    Cup.insert_many([{"size": size} for size in (3, 2, 3, 1)]).execute()


def ids(rows):
    return [row.id for row in rows]


def asked(**query):
    return NumberedPage.model_validate(query)


def test_page_is_in_the_order_of_keys_and_has_one_row_too_many():
    assert ids(list_rows(Cup, ShownCup, asked(limit="2"))) == [1, 2, 3]
    assert ids(list_rows(Cup, ShownCup, asked(after="2"))) == [3, 4]


def test_page_holds_only_rows_that_meet_the_conditions():
    assert ids(list_rows(Cup, ShownCup, asked(), Cup.size == 3, Cup.id > 1)) == [3]


def test_row_is_found_by_its_key():
    assert get_row(Cup, ShownCup, 2) == ShownCup(id=2, size=2)


def test_key_that_no_row_has_is_not_found():
    for ask in (
        lambda: get_row(Cup, ShownCup, 7),
        lambda: change_row(Cup, ShownCup, 7, {"size": 9}),
        lambda: delete_row(Cup, 7),
    ):
        with pytest.raises(NotFound, match="there is no cup 7"):
            ask()


def test_changed_row_is_returned():
    assert change_row(Cup, ShownCup, 2, {"size": 9}) == ShownCup(id=2, size=9)
    assert [cup.size for cup in Cup.select().order_by(Cup.id)] == [3, 9, 3, 1]


def test_row_that_may_not_be_changed_stays_as_it_is():
    def refuse(cup):
        raise Conflict(f"cup {cup.id} holds {cup.size}")

    with pytest.raises(Conflict, match="cup 2 holds 2"):
        change_row(Cup, ShownCup, 2, {"size": 9}, lambda _: None, refuse)
    assert get_row(Cup, ShownCup, 2).size == 2


def test_deleted_row_is_gone():
    delete_row(Cup, 2)
    assert ids(Cup.select().order_by(Cup.id)) == [1, 3, 4]


def test_row_that_may_not_be_deleted_stays():
    def refuse(cup):
        raise Conflict(f"cup {cup.id} is full")

    with pytest.raises(Conflict, match="cup 2 is full"):
        delete_row(Cup, 2, refuse)
    assert Cup.select().count() == 4


def test_what_is_kept_of_a_deleted_row_is_kept_with_it_or_not_at_all():
    def keep(cup):
        Cup.create(size=10 * cup.size)
        if cup.id == 3:
            raise Conflict("no")

    delete_row(Cup, 2, keep)
    with pytest.raises(Conflict):
        delete_row(Cup, 3, keep)
    assert [cup.size for cup in Cup.select().order_by(Cup.id)] == [3, 3, 1, 20]
