"""A database that is locked, lost or away for a moment."""

import sqlite3
from contextlib import closing

import peewee
import pytest

from saga.runtime import inbox
from saga.runtime.database import connection as module
from saga.runtime.database.connection import connect
from saga.runtime.envelope import decode

DONE = ("s/bake/do/reply", "done")


class Steps:
    """A clock that does something each time it is asked: once per attempt at a batch."""

    def __init__(self, now, *steps):
        self.now, self.steps, self.asked = now, list(steps), 0

    def __call__(self):
        self.asked += 1
        if self.steps:
            self.steps.pop(0)()
        return self.now


@pytest.fixture
def locked(tmp_path, monkeypatch, open_bakery):
    """A bakery on a file, and another connection that holds its write lock."""
    monkeypatch.setattr(module, "LOCK_TIMEOUT", 0.0)  # seconds: no waiting inside SQLite
    path = tmp_path / "bakery.db"
    bakery = open_bakery(connect(f"sqlite:///{path}"))
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        yield bakery, holder
    bakery.database.close()


def test_locked_database_is_tried_again(locked, outcomes):
    bakery, holder = locked
    bakery.clock = Steps(bakery.clock(), lambda: None, lambda: None, holder.rollback)
    assert outcomes(bakery.baker.process([bakery.bake_record()])) == [DONE]
    assert bakery.clock.asked >= 3
    assert bakery.calls == ["bake rye"]


def test_database_that_stays_locked_raises_its_error(locked):
    bakery, holder = locked
    with pytest.raises(peewee.OperationalError, match="locked"):
        bakery.baker.process([bakery.bake_record()])
    holder.rollback()
    assert bakery.calls == []
    assert bakery.inbox == {}


def test_select_that_a_handler_leaves_open_holds_up_none(tmp_path, open_bakery, outcomes):
    """What it sees is the past, once others have written, and nobody may write there."""
    path, left = tmp_path / "bakery.db", []
    bakery = open_bakery(connect(f"sqlite:///{path}"))

    def look():
        left.append(bakery.database.execute_sql("SELECT name FROM loaf UNION ALL VALUES (1), (2)"))
        left[0].fetchone()

    bakery.after = [look]
    bakery.baker.process([bakery.bake_record("oat", "t")])
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("INSERT INTO loaf (name) VALUES ('nut')")
    assert outcomes(bakery.baker.process([bakery.bake_record()])) == [DONE]
    assert bakery.loaves == ["nut", "oat", "rye"]
    bakery.database.close()


def test_connection_lost_between_batches_is_opened_again(postgres, open_bakery, outcomes):
    bakery = open_bakery(postgres)
    bakery.baker.process([bakery.bake_record()])
    end_other_connections(postgres.database)
    replies = bakery.baker.process([bakery.bake_record("oat", "t")])
    assert outcomes(replies) == [("t/bake/do/reply", "done")]
    assert bakery.loaves == ["oat", "rye"]


@pytest.mark.parametrize(
    ("moment", "calls"), [("before", ["bake rye"]), ("after", ["bake rye", "bake oat"])]
)
def test_connection_lost_in_a_handler_starts_the_batch_again(
    postgres, open_bakery, outcomes, moment, calls
):
    bakery = open_bakery(postgres)
    bakery.baker.process([bakery.bake_record("first", "r")])
    getattr(bakery, moment).append(lambda: end_other_connections(postgres.database))
    batch = [bakery.bake_record(), bakery.bake_record("oat", "t")]
    assert outcomes(bakery.baker.process(batch)) == [DONE, ("t/bake/do/reply", "done")]
    assert bakery.calls == ["bake first", *calls, "bake rye", "bake oat"]
    assert bakery.loaves == ["first", "oat", "rye"]


@pytest.mark.parametrize("code", ["40001", "40P01"])
def test_transaction_given_up_in_a_handler_starts_the_batch_again(
    postgres, open_bakery, outcomes, code
):
    """A serialization failure or a deadlock is no fault of the handler's."""
    bakery = open_bakery(postgres)
    give_up = f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{code}'; END $$"
    bakery.after.append(lambda: postgres.execute_sql(give_up))
    assert outcomes(bakery.baker.process([bakery.bake_record()])) == [DONE]
    assert bakery.calls == ["bake rye"] * 2
    assert bakery.loaves == ["rye"]


def test_commit_that_fails_starts_the_batch_again(bakery, outcomes, monkeypatch):
    commit, failures = bakery.database.commit, [peewee.OperationalError("disk I/O error")]

    def commit_badly():
        if failures:
            raise failures.pop()
        return commit()

    monkeypatch.setattr(bakery.database, "commit", commit_badly)
    assert outcomes(bakery.baker.process([bakery.bake_record()])) == [DONE]
    assert bakery.calls == ["bake rye"] * 2
    assert bakery.loaves == ["rye"]


def test_answer_that_another_process_has_given_is_given_again(bakery, monkeypatch):
    """Between the look into the inbox and the write, another process was faster."""
    first = bakery.baker.process([bakery.bake_record()])
    load, blind = inbox.load, [True]

    def see_nothing_once(database, ids):
        return {} if blind and blind.pop() else load(database, ids)

    monkeypatch.setattr(inbox, "load", see_nothing_once)
    bakery.Loaf.delete().execute()
    replies = bakery.baker.process([bakery.bake_record()])
    assert replies == first
    assert bakery.loaves == []
    assert decode(replies[0]).outcome == "done"


def end_other_connections(url):
    other = connect(url)
    pids = "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    mine = f"{pids} AND datname = current_database() AND backend_type = 'client backend'"
    other.execute_sql(f"SELECT pg_terminate_backend(pid, 5000) FROM ({mine}) AS others").fetchall()
    other.close()
