"""Statements that are built once do what peewee's own would do."""

from datetime import UTC, date, datetime, time
from decimal import Decimal
from itertools import count
from uuid import uuid4

import peewee
import psycopg
import pytest

from saga.runtime import Instant, Money, Table
from saga.runtime.database.connection import connect, transaction
from saga.runtime.database.schema import bind
from saga.runtime.database.statements import one_of, prepared
from saga.runtime.errors import ContractError

NOW = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
numbers = count()


class Jar(Table):
    id = peewee.UUIDField(primary_key=True)
    label = peewee.CharField(unique=True)
    price = Money()
    filled = Instant()
    empty = peewee.BooleanField(default=False)
    serial = peewee.IntegerField(default=lambda: next(numbers))
    note = peewee.TextField(null=True)


@pytest.fixture(autouse=True)
def _jars(database):
    bind(database, [Jar])


def make(label="jam", price="0.10"):
    Jar.create(id=uuid4(), label=label, price=Decimal(price), filled=NOW)


def raise_price():
    @prepared
    def statement(more, label):
        return Jar.update(price=Jar.price + more).where(Jar.label == label)

    return statement


def test_values_are_converted_as_their_columns_are():
    @prepared
    def insert(identifier, label, price, filled):
        return Jar.insert(id=identifier, label=label, price=price, filled=filled, serial=1)

    identifier = uuid4()
    insert(identifier, "Gelée 100%", Decimal("19.99"), NOW)
    row = Jar.get()
    assert (row.id, row.label, row.price) == (identifier, "Gelée 100%", Decimal("19.99"))
    assert (row.filled, row.empty) == (NOW, False)


def test_value_that_is_not_to_be_converted_stays_as_it_is():
    @prepared
    def find(label):
        return Jar.select(Jar.label).where(Jar.label == peewee.Value(label, converter=False))

    make("jam")
    assert find("jam") == [("jam",)]


def test_what_is_no_text_is_made_text_where_that_belongs():
    @prepared
    def find(label):
        return Jar.select(Jar.label).where(Jar.label == label)

    make("5")
    assert find(5) == find("5") == [("5",)]


def test_text_is_converted_where_something_else_belongs():
    @prepared
    def find(keys):
        return Jar.select(Jar.label).where(one_of(Jar.id, keys))

    make("jam")
    assert find([str(Jar.get().id)]) == [("jam",)]


def test_text_that_is_not_there_is_none():
    @prepared
    def find(label):
        return Jar.select(Jar.note).where(Jar.label == label)

    make("jam")
    assert find("jam") == [(None,)]


def test_number_of_changed_rows_is_returned():
    make("jam")
    statement = raise_price()
    assert statement(Decimal("0.20"), "jam") == 1
    assert statement(Decimal("0.20"), "nothing") == 0
    assert Jar.get().price == Decimal("0.30")


def test_each_call_has_its_own_values():
    make("jam")
    make("tea")
    statement = raise_price()
    statement(Decimal("1.00"), "jam")
    statement(Decimal("2.00"), "tea")
    prices = {jar.label: jar.price for jar in Jar.select()}
    assert prices == {"jam": Decimal("1.10"), "tea": Decimal("2.10")}


def test_returned_columns_are_read_as_peewee_reads_them():
    @prepared
    def empty_all(filled):
        query = Jar.update(empty=True).where(Jar.filled == filled, ~Jar.empty)
        return query.returning(Jar.label, Jar.price, Jar.filled, Jar.empty)

    make("jam")
    assert empty_all(NOW) == [("jam", Decimal("0.10"), NOW, True)]
    assert empty_all(NOW) == []


def test_rows_are_read_alike_on_a_connection_that_makes_others(database, monkeypatch):
    @prepared
    def look():
        return Jar.select(Jar.label, Jar.price)

    make("jam")
    on_sqlite = isinstance(database, peewee.SqliteDatabase)
    of_another_kind = (lambda *_: ("a", "b")) if on_sqlite else psycopg.rows.dict_row
    monkeypatch.setattr(database.connection(), "row_factory", of_another_kind)
    assert look() == [("jam", Decimal("0.10"))]


class Loud(peewee.CharField):  # type: ignore[misc]
    def python_value(self, value):
        return value.upper()


class Trimmed(peewee.TextField):  # type: ignore[misc]
    def adapt(self, value):
        return value.strip()


class Sign(Table):
    title = Loud()
    words = Trimmed()


def test_text_is_read_as_its_column_has_it(database):
    @prepared
    def read():
        return Sign.select(Sign.title, Sign.words)

    bind(database, [Sign])
    database.execute_sql("INSERT INTO sign (title, words) VALUES ('closed', ' on Sunday ')")
    assert read() == [("CLOSED", "on Sunday")]


def test_rows_can_be_deleted():
    @prepared
    def remove(label):
        return Jar.delete().where(Jar.label == label)

    make("jam")
    assert (remove("tea"), remove("jam"), Jar.select().count()) == (0, 1, 0)


@prepared
def add(identifier, label, price, filled):
    return Jar.insert(id=identifier, label=label, price=price, filled=filled, serial=1)


def jar(label, price="1.00"):
    return uuid4(), label, Decimal(price), NOW


def test_insert_answers_with_the_number_of_its_rows():
    assert add(*jar("jam")) == 1


def test_many_rows_are_written_together(database):
    add.many(database, [jar(f"jar {n}") for n in range(1000)])
    assert Jar.select().count() == 1000
    assert Jar.get(Jar.label == "jar 999").filled == NOW


def test_no_rows_are_nothing_to_write(database):
    add.many(database, [])
    assert Jar.select().count() == 0


def test_taken_key_among_many_is_peewees_error_and_leaves_nothing(database):
    add(*jar("jam"))
    with pytest.raises(peewee.IntegrityError), transaction(database):
        add.many(database, [jar("tea"), jar("jam")])
    assert Jar.select().count() == 1


@pytest.mark.parametrize("others", [0, 2])
def test_many_rows_have_as_many_values_as_there_are_arguments(database, others):
    with pytest.raises(ValueError, match="add takes 4 arguments"):
        add.many(database, [(uuid4(), "jam"), *map(jar, "ab"[:others])])


@prepared
def look(keys):
    return Jar.select(Jar.label, Jar.price).where(one_of(Jar.id, keys)).order_by(Jar.label)


@pytest.mark.parametrize("count", [0, 1, 2, 1000])
def test_rows_are_found_by_any_number_of_keys(database, count):
    jars = [jar(f"jar {n:03}") for n in range(count)]
    add.many(database, [*jars, jar("another")])
    found = look([identifier for identifier, *_ in jars] + [uuid4()])
    assert found == [(label, price) for _, label, price, _ in jars]


def test_select_locks_where_there_is_more_than_one_writer(database):
    @prepared
    def first(label):
        return Jar.select(Jar.label).where(Jar.label == label).for_update()

    make("jam")
    assert first("jam") == [("jam",)]
    locks = "FOR UPDATE" in first._statement(database, ("jam",)).sql
    assert locks == isinstance(database, peewee.PostgresqlDatabase)


def test_statement_runs_on_another_database_than_its_tables(database):
    other = connect("sqlite://")
    bind(other, [Jar])
    bind(database, [Jar])
    assert add.on(other, *jar("jam")) == 1
    assert Jar.select().count() == 0
    other.close()


def test_errors_are_peewees():
    @prepared
    def rename(label):
        return Jar.update(label=label)

    make("jam")
    make("tea")
    with pytest.raises(peewee.IntegrityError):
        rename("jam")


def test_errors_that_come_with_a_later_row_are_peewees_too():
    @prepared
    def parse():
        return Jar.select(peewee.fn.json(Jar.label)).order_by(Jar.label)

    make("1")
    make("{")
    with pytest.raises(peewee.DatabaseError):
        parse()


def test_statement_has_the_name_and_the_words_of_its_function():
    @prepared
    def find(label):
        """Find a jar."""
        return Jar.select(Jar.id).where(Jar.label == label)

    assert (find.__name__, find.__doc__) == ("find", "Find a jar.")


def test_value_that_its_column_refuses_is_refused():
    make("jam")
    with pytest.raises(ValueError, match="more than two decimal places"):
        raise_price()(Decimal("0.001"), "jam")


@pytest.mark.parametrize("values", [(), (Decimal(1),), (Decimal(1), "jam", 3)])
def test_wrong_number_of_values_is_an_error(values):
    with pytest.raises(ValueError, match="argument"):
        raise_price()(*values)


def test_default_is_made_at_each_call():
    @prepared
    def insert(identifier, label, filled):
        return Jar.insert(id=identifier, label=label, price=1, filled=filled)

    insert.many(Jar._meta.database, [(uuid4(), "jam", NOW), (uuid4(), "tea", NOW)])
    insert(uuid4(), "oil", NOW)
    first, second, third = [jar.serial for jar in Jar.select().order_by(Jar.serial)]
    assert first < second < third


class Calendar:
    today = date(2026, 12, 31)


class Lease(Table):
    number = peewee.IntegerField()
    day = peewee.DateField(default=lambda: Calendar.today)
    rent = Money(default=lambda: Decimal("9.50"))
    since = peewee.DateField(default=date(2020, 1, 1))
    from_ = peewee.TimeField(default=time(12, 30))
    note = peewee.CharField(null=True, default=lambda: peewee.fn.lower("NEW"))


@pytest.fixture
def leases(database):
    bind(database, [Lease])
    return Lease


@prepared
def let(number):
    return Lease.insert(number=number)


@prepared
def noted(number, note):
    return Lease.insert(number=number, note=note)


@prepared
def end(note):
    return Lease.delete().where(Lease.note == note)


@prepared
def find_others(note):
    return Lease.select(Lease.number).where(Lease.note != note)


def test_default_that_moves_slowly_is_the_one_of_its_call(leases, monkeypatch):
    let(1)
    monkeypatch.setattr(Calendar, "today", date(2027, 1, 1))
    let(2)
    days = {lease.number: lease.day for lease in leases.select()}
    assert days == {1: date(2026, 12, 31), 2: date(2027, 1, 1)}
    others = {(lease.since, lease.from_, lease.note, lease.rent) for lease in leases.select()}
    assert others == {(date(2020, 1, 1), time(12, 30), "new", Decimal("9.50"))}


def test_none_is_compared_as_null(leases):
    noted.many(leases._meta.database, [(1, None), (2, "a"), (3, "b")])
    assert find_others("a") == [(3,)]
    assert find_others(None) == [(2,), (3,)]
    assert (end(None), end(None), end("a")) == (1, 0, 1)


def test_rows_of_which_some_compare_with_none_are_written_too(leases):
    noted.many(leases._meta.database, [(1, None), (2, "a"), (3, "b")])
    end.many(leases._meta.database, [("a",), (None,)])
    assert find_others("none of them") == [(3,)]


def test_value_that_varies_is_refused():
    @prepared
    def empty(label):
        return Jar.update(serial=next(numbers)).where(Jar.label == label)

    with pytest.raises(ContractError, match="empty changes a value from call to call"):
        empty("jam")


@pytest.mark.parametrize("moment", [NOW, NOW.date(), NOW.time()])
def test_moment_that_is_no_argument_is_refused(moment):
    @prepared
    def fill(label):
        return Jar.update(filled=moment).where(Jar.label == label)

    with pytest.raises(ContractError, match="would stay in a statement for ever"):
        fill("jam")


def test_statement_goes_to_the_database_that_its_table_is_bound_to(database):
    make("jam")
    statement = raise_price()
    statement(Decimal("1.00"), "jam")
    other = connect("sqlite://")
    bind(other, [Jar])
    make("jam")
    statement(Decimal("5.00"), "jam")
    assert Jar.get().price == Decimal("5.10")
    bind(database, [Jar])
    assert Jar.get().price == Decimal("1.10")
    other.close()


def test_insert_that_says_returning_answers_with_rows():
    @prepared
    def insert(identifier, label, filled):
        query = Jar.insert(id=identifier, label=label, price=1, filled=filled, serial=1)
        return query.returning(Jar.id, Jar.price)

    identifier = uuid4()
    assert insert(identifier, "jam", NOW) == [(identifier, Decimal("1.00"))]


def test_statement_is_built_for_its_first_call_alone_and_for_each_kind_of_database(database):
    built = []

    @prepared
    def count_jars(label):
        built.append(label)
        return Jar.select(Jar.label).where(Jar.label == label)

    count_jars("jam")
    before = len(built)
    count_jars("tea")
    assert len(built) == before
    other = connect("sqlite://")
    bind(other, [Jar])
    count_jars("jam")
    assert (len(built) > before) == isinstance(database, peewee.PostgresqlDatabase)
    other.close()


def test_statement_built_anew_is_forgotten_again():
    built = []

    @prepared
    def find(label):
        built.append(label)
        return Jar.select(Jar.label).where(Jar.label == label)

    find("jam")
    before = len(built)
    with find.built_anew():
        find("jam")
        assert len(built) == 2 * before - 1
        find("jam")
    find("jam")
    assert len(built) == 3 * before - 2
