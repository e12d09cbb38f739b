"""The pytest plugin: fresh tables, a clock that stands still, and nothing left behind."""

import importlib.metadata
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from types import ModuleType

import peewee
import pytest

from saga.runtime import Command, Event, Table, function
from saga.runtime.clock import utcnow
from saga.runtime.database.connection import connect
from saga.runtime.database.schema import bind
from saga.runtime.errors import ContractError
from saga.runtime.inbox import InboxRow
from saga.runtime.testing import NEW_YEAR, FrozenClock, fresh_database, invoke, reset
from support.waiting import DEADLINE


class Shelf(Table):
    name = peewee.CharField()


class Book(Table):
    shelf = peewee.ForeignKeyField(Shelf, null=True)
    title = peewee.CharField()


class Shelved(Event, topic="library.events"):
    title: str


class ShelveBook(Command, topic="library.shelve", event=Shelved):
    title: str


@function
def shelve_book(command: ShelveBook) -> Shelved:
    Book.create(title=command.title)
    return Shelved(title=command.title)


EMMA = ShelveBook(title="Emma")


def bound():
    return [table._meta.database for table in (Shelf, Book, InboxRow)]


@pytest.fixture(autouse=True)
def _as_before():
    """Every test here leaves the bindings as they were."""
    before = bound()
    yield
    reset()
    assert bound() == before


def test_functions_tables_and_the_inbox_are_bound(saga_database):
    database = saga_database(shelve_book)
    assert bound() == [database] * 3
    assert shelve_book(EMMA) == Shelved(title="Emma")
    assert (Book.select().count(), InboxRow.select().count()) == (1, 0)


def test_modules_tables_are_bound(saga_database):
    module = ModuleType("store")
    vars(module).update(Book=Book, Shelf=Shelf)
    database = saga_database(module)
    assert bound()[:2] == [database] * 2


def test_every_database_is_a_new_one(saga_database):
    saga_database(Shelf, Book)
    shelve_book(EMMA)
    saga_database(Shelf, Book)
    assert Book.select().count() == 0


def test_invocation_makes_its_database_and_keeps_it():
    invoke(shelve_book, EMMA)
    invoke(shelve_book, EMMA)
    assert Book.select().count() == 2


def test_invocation_uses_the_database_that_is_bound(saga_database):
    database = saga_database(Shelf, Book)
    invoke(shelve_book, EMMA)
    assert bound() == [database] * 3


@pytest.fixture
def own_database():
    """A database that the test has bound by itself."""
    database = connect("sqlite://")
    with database.bind_ctx([Shelf, Book]):
        bind(database, [Shelf, Book])
        yield database
        reset()
    database.close()


def test_invocation_uses_the_tests_own_database(own_database):
    invoke(shelve_book, EMMA)
    assert bound() == [own_database] * 3
    reset()
    assert Book.select().count() == 1


def test_database_that_another_test_has_closed_is_left_alone(own_database):
    own_database.close()
    invoke(shelve_book, EMMA)
    assert own_database not in bound()
    reset()
    assert bound()[:2] == [own_database] * 2


def test_earlier_bindings_come_back():
    before = bound()
    database = fresh_database(shelve_book)
    fresh_database(shelve_book)
    reset()
    assert bound() == before
    assert database.is_closed()


def test_undeclared_function_has_no_tables(saga_database):
    with pytest.raises(ContractError, match="lacks the decorator"):
        saga_database(bound)


def test_clock_stands_still_until_it_is_moved(frozen_clock):
    assert utcnow() == utcnow() == frozen_clock.now == NEW_YEAR
    frozen_clock.advance(minutes=5)
    assert utcnow() == NEW_YEAR + timedelta(minutes=5)


def test_clock_can_be_set(frozen_clock):
    frozen_clock.now = datetime(2030, 1, 1, tzinfo=UTC)
    assert utcnow().year == 2030


def test_clock_goes_on_afterwards():
    assert utcnow() > FrozenClock()()


SUITE = """
import peewee
from saga.runtime import Table
from saga.runtime.clock import utcnow
from saga.runtime.testing import NEW_YEAR

class Leaf(Table):
    pass

def test_one(saga_database, frozen_clock):
    saga_database(Leaf)
    Leaf.create()
    assert utcnow() == NEW_YEAR

def test_two():
    assert Leaf._meta.database is None
    assert utcnow() > NEW_YEAR
"""


def test_plugin_is_there_once_the_package_is_installed(tmp_path):
    (tmp_path / "test_leaf.py").write_text(SUITE)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE)
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_plugin_is_light():
    """Every pytest run on this machine imports it, whatever it tests."""
    (plugin,) = importlib.metadata.entry_points(group="pytest11", name="saga")
    code = f"import sys, {plugin.value}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=DEADLINE
    )
    loaded = set(done.stdout.split())
    assert plugin.value in loaded, done.stderr
    assert not loaded & {"quixstreams", "confluent_kafka", "sanic", "peewee", "pydantic"}
