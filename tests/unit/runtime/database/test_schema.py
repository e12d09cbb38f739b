"""How a table and its indexes come into a database, and what becomes of those that are there."""

from types import ModuleType

import peewee
import pytest

from saga.runtime import Id, Table
from saga.runtime.database.columns import TransactionNumber
from saga.runtime.database.connection import connect
from saga.runtime.database.schema import SCHEMA_LOCK, bind, create_missing, tables_in
from saga.runtime.errors import ContractError


class Parcel(Table):
    """A table keyed by text, with an index of some rows only."""

    clustered = True

    code = peewee.CharField(primary_key=True)
    owner = peewee.CharField(null=True)


Parcel.add_index(Parcel.owner, unique=True, where=Parcel.owner.is_null(False))


def indexes(database):
    return {index.name for index in database.get_indexes("parcel")}


def test_clustered_table_is_one_tree_on_sqlite(sqlite):
    bind(sqlite, [Parcel])
    trees = sqlite.execute_sql("SELECT name FROM sqlite_master ORDER BY name")
    assert [name for (name,) in trees] == ["parcel", "parcel_owner"]


def test_index_of_some_rows_is_made_and_found_again(database):
    bind(database, [Parcel])
    before = indexes(database)
    bind(database, [Parcel])
    assert "parcel_owner" in before
    assert indexes(database) == before


def test_table_that_is_there_stays_as_it_is_and_gets_its_indexes(sqlite):
    sqlite.execute_sql("CREATE TABLE parcel (code TEXT PRIMARY KEY, owner TEXT)")
    sqlite.execute_sql("INSERT INTO parcel VALUES ('a', 'Ann')")
    bind(sqlite, [Parcel])
    assert Parcel.get().owner == "Ann"
    assert "parcel_owner" in indexes(sqlite)
    assert sqlite.execute_sql("SELECT rowid FROM parcel").fetchall() == [(1,)]


def test_table_that_lacks_columns_is_told_at_once(database):
    database.execute_sql("CREATE TABLE parcel (code VARCHAR(255) PRIMARY KEY, more INTEGER)")
    with pytest.raises(ContractError, match="table parcel has no column owner: it is"):
        bind(database, [Parcel])
    database.execute_sql("ALTER TABLE parcel ADD COLUMN owner VARCHAR(255)")
    bind(database, [Parcel])


def test_tables_of_a_module_are_found_among_all_that_it_holds():
    module = ModuleType("parcels")
    vars(module).update(Table=Table, Parcel=Parcel, number=1, kind=int)
    assert tables_in(module) == [Parcel]


def test_tables_that_can_not_all_be_created_are_none(database):
    class Zeppelin(Table):
        pass

    Zeppelin.add_index(peewee.SQL("CREATE INDEX of nothing"))
    with pytest.raises(peewee.DatabaseError):
        bind(database, [Parcel, Zeppelin])
    assert database.get_tables() == []


def test_tables_are_created_by_one_process_at_a_time(postgres, postgres_url):
    newcomer = connect(postgres_url)
    newcomer.execute_sql("SET lock_timeout = '50ms'")
    with postgres.atomic():
        postgres.execute_sql("SELECT pg_advisory_xact_lock(%s)", (SCHEMA_LOCK,))
        with pytest.raises(peewee.OperationalError, match="lock timeout"):
            bind(newcomer, [Parcel])
    newcomer.close()


class Numbered(Table):
    id = Id()


class Transacted(Table):
    number = TransactionNumber()


@pytest.mark.parametrize("table", [Numbered, Transacted])
def test_table_is_made_in_another_database_than_it_is_bound_to(sqlite, postgres, table):
    for bound, other in ((sqlite, postgres), (postgres, sqlite)):
        with table.bind_ctx(bound):
            create_missing(other, [table])
        assert other.table_exists(table._meta.table_name)
        with table.bind_ctx(other):
            numbers = [table.insert().execute() for _ in range(2)]
            assert numbers[0] < numbers[1]
            table.delete().where(table._meta.primary_key == numbers[0]).execute()
            assert table.insert().execute() > numbers[1]
