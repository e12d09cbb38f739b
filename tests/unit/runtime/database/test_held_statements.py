"""Statements that tell nothing: PostgreSQL gets them together with the next one."""

import peewee
import pytest

from saga.runtime.database.connection import CommitRefused, batch_transaction, transaction
from saga.runtime.database.schema import Table, bind
from saga.runtime.database.statements import prepared
from saga.runtime.errors import ContractError
from support.round_trips import round_trips


class Jar(Table):
    label = peewee.CharField(primary_key=True)
    price = peewee.IntegerField(null=True)


@prepared
def add(label, price):
    return Jar.insert(label=label, price=price)


@pytest.fixture(autouse=True)
def jars(database):
    bind(database, [Jar])
    return lambda: [jar.label for jar in Jar.select().order_by(Jar.label)]


on_postgres = pytest.mark.parametrize("database", ["postgres"], indirect=True)


@pytest.mark.parametrize("alone", [False, True])
@on_postgres
def test_transaction_begins_and_ends_with_its_statements(database, jars, alone):
    with round_trips(database) as count:
        with transaction(database, alone=alone):
            assert count() == 1
            add.later(database, [("jam", 1)])
            add.later(database, [("tea", 2), ("oil", None), ("rye", 3), ("soy", 4)])
            assert count() == 1
        assert count() == 2
    assert jars() == ["jam", "oil", "rye", "soy", "tea"]


def test_what_is_written_later_is_there_for_the_next_statement(database, jars):
    with transaction(database):
        add.later(database, [("jam", 1)])
        assert jars() == ["jam"]


def test_nothing_to_write_later_is_nothing(database, jars):
    with transaction(database):
        add.later(database, [])
    assert jars() == []


def test_error_of_what_was_to_be_written_later_undoes_all(database, jars):
    add("jam", 1)
    with pytest.raises(peewee.IntegrityError), transaction(database):
        add.later(database, [("tea", 2), ("oil", None), ("jam", 2)])
    assert jars() == ["jam"]
    assert not database.in_transaction()


@on_postgres
def test_batch_whose_last_write_is_refused_is_a_commit_that_is(database, jars):
    add("jam", 1)
    with pytest.raises(CommitRefused, match="jar_pkey"), batch_transaction(database):
        add.later(database, [("jam", 2)])
    assert jars() == ["jam"]


def test_block_that_raises_writes_nothing_later_that_may_be_refused(database, jars):
    def fail(*labels):
        with transaction(database):
            for label in labels:
                add.later(database, [(label, 1)])
            raise ZeroDivisionError

    add("jam", 1)
    with pytest.raises(ZeroDivisionError):
        fail("tea")
    if not isinstance(database, peewee.SqliteDatabase):  # which has not waited
        with pytest.raises(ZeroDivisionError):
            fail("jam", "tea")
    assert jars() == ["jam"]


def test_outside_of_a_transaction_it_is_written_at_once(database, jars):
    add.later(database, [("jam", 1), ("tea", 2)])
    with pytest.raises(peewee.IntegrityError):
        add.later(database, [("jam", 2)])
    assert jars() == ["jam", "tea"]


def test_what_may_not_end_its_transaction_may_write_later(database, jars):
    with batch_transaction(database):
        add.later(database, [("jam", 1)])
        with pytest.raises(ContractError):
            database.commit()
    assert jars() == ["jam"]


@on_postgres
def test_connection_that_is_lost_loses_what_it_holds(database, jars):
    def lose_it():
        with transaction(database):
            add.later(database, [("jam", 1)])
            database.connection().pgconn.finish()

    with pytest.raises(peewee.OperationalError):
        lose_it()
    database.close()
    with transaction(database):
        add.later(database, [("tea", 1)])
    assert jars() == ["tea"]
