"""Connections, exact columns, transactions."""

import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import peewee
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saga.runtime import Id, Instant, Money, Table
from saga.runtime.data_directory import MARKER
from saga.runtime.database.connection import (
    UNAVAILABLE,
    batch_transaction,
    connect,
    is_serialization_failure,
    locked,
    transaction,
)
from saga.runtime.database.kept import kept
from saga.runtime.database.schema import bind
from saga.runtime.database.sqlite import sqlite_file
from saga.runtime.database.statements import prepared
from saga.runtime.errors import ContractError


class Account(Table):
    id = peewee.BigAutoField()
    owner = peewee.CharField(unique=True)
    balance = Money()
    opened = Instant(null=True)


@pytest.fixture
def accounts(database):
    bind(database, [Account])
    return database


@pytest.mark.parametrize(
    "sql", ["SELEC 1", "SELECT nothing FROM account", "SELECT 1 FROM nowhere", "SELECT f(1)"]
)
def test_a_mistake_in_sql_is_no_outage_on_either_database(accounts, sql):
    @prepared
    def wrong():
        return Account.select(Account.id).where(peewee.SQL("nothing = 1"))

    with pytest.raises(peewee.ProgrammingError) as mistake:
        accounts.execute_sql(sql)
    assert isinstance(mistake.value.orig, (sqlite3.Error, psycopg.Error))
    if isinstance(accounts, peewee.PostgresqlDatabase):
        accounts.rollback()
    with pytest.raises(peewee.ProgrammingError, match="nothing"):
        wrong.on(accounts)


def test_an_outage_is_no_mistake(sqlite, tmp_path):
    bind(sqlite, [Account])
    for end in ("ROLLBACK TO", "RELEASE"):
        with pytest.raises(peewee.OperationalError, match="no such savepoint"):
            sqlite.execute_sql(f"{end} SAVEPOINT handler")
    sqlite.execute_sql("PRAGMA max_page_count = 1")
    with pytest.raises(peewee.OperationalError, match="full"):
        sqlite.execute_sql("CREATE TABLE more (id)")
    assert not issubclass(peewee.ProgrammingError, UNAVAILABLE)


def test_an_old_sqlite_is_refused_and_postgresql_is_not(monkeypatch):
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    monkeypatch.setattr(sqlite3, "sqlite_version", "3.34.1")
    for url in ("sqlite://", "SQLite://"):
        with pytest.raises(ContractError, match=r"^SQLite 3\.35 or newer .* has 3\.34\.1"):
            connect(url)
    connect("postgresql://nowhere/db")
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 35, 0))
    connect("sqlite://")


def test_file_is_made_when_the_database_is_used_in_a_folder_of_ours(tmp_path):
    database = connect(f"sqlite:///{tmp_path}/data/user.db")
    assert list(tmp_path.iterdir()) == []
    database.connect()
    database.close()
    assert {path.name for path in (tmp_path / "data").iterdir()} == {MARKER, "user.db"}
    shutil.rmtree(tmp_path / "data")
    with pytest.raises(peewee.OperationalError, match="unable to open"):
        database.connect()
    assert list(tmp_path.iterdir()) == []


@given(st.decimals(-(10**15), 10**15, places=2))
def test_money_survives_as_it_is(amount):
    assert Money().python_value(Money().db_value(amount)) == amount


@pytest.mark.parametrize("amount", ["0.001", "19.999", "-0.005"])
def test_money_with_a_third_decimal_place_is_refused(amount):
    with pytest.raises(ValueError, match="more than two decimal places"):
        Money().db_value(Decimal(amount))


def test_money_has_two_places():
    assert str(Money().python_value(500)) == "5.00"


@pytest.mark.parametrize("column", [Money(), Instant()])
def test_what_is_missing_stays_missing(column):
    assert column.db_value(None) is None
    assert column.python_value(None) is None


@given(st.datetimes(timezones=st.just(UTC)))
def test_instant_survives_to_the_microsecond(moment):
    assert Instant().python_value(Instant().db_value(moment)) == moment


@pytest.mark.parametrize(("kept", "read"), [(-(2**62), datetime.min), (2**62, datetime.max)])
def test_instant_of_no_year_is_the_first_or_last_one(kept, read):
    assert Instant().python_value(kept) == read.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("kept", "read"), [("soon", datetime.min), (60_000_000.5, datetime(1970, 1, 1, 0, 1))]
)
def test_instant_that_somebody_has_written_by_hand_is_read(sqlite, kept, read):
    bind(sqlite, [Account])
    sqlite.execute_sql("INSERT INTO account VALUES (1, 'Ann', 0, ?)", (kept,))
    assert Account.get().opened == read.replace(tzinfo=UTC)


def test_text_that_is_none_is_no_error_of_the_database(sqlite):
    """Somebody has written it by hand, on a terminal of another encoding."""
    assert sqlite.execute_sql("SELECT CAST(x'4afc' AS TEXT)").fetchone() == ("J\ufffd",)


class Note(Table):
    title = peewee.CharField()
    words = peewee.TextField()


def test_bytes_where_text_belongs_are_no_error_either(sqlite):
    @prepared
    def read():
        return Note.select(Note.title, Note.words)

    bind(sqlite, [Note])
    sqlite.execute_sql("INSERT INTO note VALUES (1, x'4afc', x'4afc')")
    assert read() == [("J\ufffd", "J\ufffd")]


def test_instants_of_two_time_zones_are_one():
    moment = datetime(2026, 5, 4, 12, tzinfo=UTC)
    elsewhere = moment.astimezone(timezone(timedelta(hours=-7)))
    assert Instant().db_value(moment) == Instant().db_value(elsewhere)


def test_columns_survive_the_database(accounts):
    moment = datetime(2026, 5, 4, 12, 30, 15, 123456, tzinfo=UTC)
    Account.create(owner="Zoë", balance=Decimal("0.10"), opened=moment)
    row = Account.get(Account.owner == "Zoë")
    assert (row.balance, row.opened) == (Decimal("0.10"), moment)


def test_money_is_added_up_exactly(accounts):
    Account.create(owner="Ann", balance=Decimal("0.10"))
    for _ in range(3):
        Account.update(balance=Account.balance + Decimal("0.10")).execute()
    assert Account.get().balance == Decimal("0.40")


@pytest.mark.parametrize("url", ["mysql://host/db", "host/db", "", "sqlite3:///x"])
def test_url_of_another_database_is_refused(url):
    with pytest.raises(ContractError, match=r"neither sqlite:// nor postgresql://"):
        connect(url)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "Postgres"])
def test_postgresql_is_reached_by_each_of_its_names(postgres_url, scheme):
    database = connect(postgres_url.replace("postgresql", scheme, 1))
    assert database.execute_sql("SELECT 1").fetchall() == [(1,)]
    database.close()


def test_sqlite_is_reached_by_its_name_in_any_case():
    assert connect("SQLite://").database == ":memory:"


def test_sqlite_keeps_so_much_in_memory_and_no_more():
    database = connect("sqlite://")
    assert database.pragma("cache_size") == -32 * 1024  # KiB; a number above 0 would count pages
    database.close()


@pytest.mark.parametrize(("shared", "there"), [(True, ["mark"]), (False, [])])
def test_threads_have_one_connection_where_it_is_shared(shared, there):
    database = connect("sqlite://", shared=shared)
    database.execute_sql("CREATE TABLE mark (id INTEGER)")
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(database.get_tables).result() == there
        thread.submit(database.close).result()
    database.close()


def test_refused_url_keeps_its_password():
    with pytest.raises(ContractError) as refusal:
        connect("mysql://ann:secret@host/db")
    assert "secret" not in str(refusal.value)


def test_file_that_was_removed_is_not_made_again(tmp_path):
    database = connect(f"sqlite:///{tmp_path}/user.db")
    database.connect()
    database.close()
    (tmp_path / "user.db").unlink()
    with pytest.raises(peewee.OperationalError, match=r"user\.db: it was removed"):
        database.connect()
    assert not (tmp_path / "user.db").exists()


def test_sqlite_file_is_made_with_its_folders(tmp_path):
    path = tmp_path / "a" / "b" / "user.db"
    database = connect(f"sqlite:///{path}")
    bind(database, [Account])
    mode = database.execute_sql("PRAGMA journal_mode").fetchone()[0]
    database.close()
    assert (path.exists(), mode) == (True, "wal")


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("sqlite:///a/b.db", Path("a/b.db")),
        ("SQLite:////a/b.db", Path("/a/b.db")),
        ("sqlite://", None),
        ("postgresql://host/db", None),
    ],
)
def test_file_of_a_database_is_known_where_it_has_one(url, file):
    assert sqlite_file(url) == file


@pytest.mark.parametrize("path", ["a/b.db", "/a/b.db", ":memory:"])
def test_sqlite_path_may_be_relative_or_not(monkeypatch, path):
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: None)
    assert connect(f"sqlite:///{path}").database == path


@pytest.mark.parametrize("folder", ["a b", "a%20b", "ä"])
def test_sqlite_path_is_taken_literally(tmp_path, folder):
    database = connect(f"sqlite:///{tmp_path / folder / 'user.db'}")
    bind(database, [Account])
    database.close()
    assert (tmp_path / folder / "user.db").exists()


@pytest.mark.parametrize("folder", ["c#", "what?"])
def test_sqlite_path_may_hold_what_urls_do_not(tmp_path, folder):
    database = connect(f"sqlite:///{tmp_path / folder / 'user.db'}")
    bind(database, [Account])
    database.close()
    assert (tmp_path / folder / "user.db").exists()


def test_binding_what_is_there_waits_for_no_writer(postgres, postgres_url):
    """Else a new version would stall, or break, what is being written while it starts."""
    bind(postgres, [Account])
    newcomer = connect(postgres_url)
    newcomer.execute_sql("SET lock_timeout = '1s'")
    with postgres.atomic():
        postgres.execute_sql("INSERT INTO account (owner, balance) VALUES ('Ann', 1)")
        bind(newcomer, [Account])
    newcomer.close()
    bind(postgres, [Account])
    assert Account.select().count() == 1


def test_binding_makes_an_index_that_is_missing(accounts):
    accounts.execute_sql("DROP INDEX account_owner")
    bind(accounts, [Account])
    assert "account_owner" in {index.name for index in accounts.get_indexes("account")}


def test_binding_again_keeps_the_rows(accounts):
    Account.create(owner="Ann", balance=1)
    bind(accounts, [Account])
    assert Account.select().count() == 1


def test_failed_transaction_leaves_nothing(accounts):
    def fail_halfway():
        with transaction(accounts):
            Account.create(owner="Ann", balance=1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_halfway()
    assert Account.select().count() == 0


def test_transaction_of_one_thread_alone_is_kept(tmp_path):
    database = connect(f"sqlite:///{tmp_path}/x.db")

    def write():
        with database:
            database.execute_sql("CREATE TABLE mark (id INTEGER)")

    with ThreadPoolExecutor(1) as other, database:
        with kept(database):
            other.submit(write).result()
            with pytest.raises(ContractError):
                database.commit()
        assert database.get_tables() == ["mark"]


def test_rollback_that_fails_is_no_refused_commit(monkeypatch):
    database = connect("sqlite://")

    def fail():
        raise peewee.ProgrammingError("no way back")

    monkeypatch.setattr(database, "rollback", fail)
    with pytest.raises(peewee.ProgrammingError, match="no way back"), batch_transaction(database):
        raise ZeroDivisionError
    database.close()


def test_database_of_peewees_own_is_left_as_it_is():
    database = peewee.SqliteDatabase(":memory:")
    with kept(database), database.atomic():
        database.execute_sql("CREATE TABLE mark (id INTEGER)")
    assert database.get_tables() == ["mark"]
    database.close()


def test_sqlite_transaction_is_the_only_writer_from_its_start(tmp_path):
    database = connect(f"sqlite:///{tmp_path / 'x.db'}")
    bind(database, [Account])
    other = sqlite3.connect(tmp_path / "x.db", timeout=0)
    try:
        with transaction(database), pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
    finally:
        other.close()
        database.close()


def test_locked_row_can_not_be_locked_by_another(postgres, postgres_url):
    bind(postgres, [Account])
    Account.create(owner="Ann", balance=1)
    other = connect(postgres_url)
    try:
        with transaction(postgres):
            assert len(locked(Account.select(), postgres)) == 1
            with pytest.raises(peewee.OperationalError, match="lock"):
                other.execute_sql("SELECT 1 FROM account FOR UPDATE NOWAIT")
    finally:
        other.close()


def test_transaction_that_is_alone_waits_for_its_like_and_for_no_other(postgres, postgres_url):
    other = connect(postgres_url)
    try:
        other.execute_sql("SET lock_timeout = 50")  # milliseconds
        with transaction(postgres, alone=True):
            with transaction(other):
                assert other.execute_sql("SELECT 1").fetchone() == (1,)
            with (
                pytest.raises(peewee.OperationalError, match="lock timeout"),
                transaction(other, alone=True),
            ):
                pass
            other.rollback()
        with transaction(other, alone=True):
            pass
    finally:
        other.close()


def test_rows_are_read_alike_whether_or_not_they_can_be_locked(accounts):
    Account.create(owner="Ann", balance=1)
    with transaction(accounts):
        assert [row.owner for row in locked(Account.select(), accounts)] == ["Ann"]


def test_transaction_that_is_given_up_is_told_from_the_drivers_own_error():
    assert is_serialization_failure(psycopg.errors.SerializationFailure())
    assert not is_serialization_failure(psycopg.errors.UniqueViolation())
    assert not is_serialization_failure(sqlite3.OperationalError())


class Evasive(Exception):
    def __getattr__(self, name):
        raise KeyError(name)


def test_error_that_can_not_be_asked_is_no_serialization_failure():
    assert is_serialization_failure(Evasive()) is False


def test_transaction_that_postgres_gives_up_is_told_from_other_failures(postgres, postgres_url):
    bind(postgres, [Account])
    Account.create(owner="Ann", balance=1)
    other = connect(postgres_url)

    def change_what_has_changed_since():
        with transaction(postgres):
            postgres.execute_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            Account.get()
            other.execute_sql("UPDATE account SET balance = 2")
            Account.update(balance=3).execute()

    try:
        with pytest.raises(peewee.OperationalError) as given_up:
            change_what_has_changed_since()
    finally:
        other.close()
    with pytest.raises(peewee.IntegrityError) as refused:
        Account.create(owner="Ann", balance=1)
    assert is_serialization_failure(given_up.value)
    assert not is_serialization_failure(refused.value)


class Ticket(Table):
    id = Id()


def test_number_of_a_deleted_row_is_not_given_again(database):
    bind(database, [Ticket])
    first = Ticket.create()
    first.delete_instance()
    assert Ticket.create().id > first.id


class Shelf(Table):
    pass


class Book(Table):
    shelf = peewee.ForeignKeyField(Shelf)


def test_tables_are_created_after_those_that_they_refer_to(database):
    bind(database, [Book, Shelf])
    Book.create(shelf=Shelf.create())
    assert Book.select().count() == 1
