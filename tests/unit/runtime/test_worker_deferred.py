"""What only the commit refuses, such as a deferred constraint, is the fault of one message."""

import json
from dataclasses import replace
from datetime import timedelta
from itertools import count

import peewee
import pytest

from saga.runtime.batch_loop import LONGEST_BATCH
from saga.runtime.database.connection import CommitRefused, batch_transaction
from saga.runtime.envelope import decode
from saga.runtime.worker import Worker

CRUMB = "CREATE TABLE crumb (mouse INTEGER REFERENCES mouse (id) DEFERRABLE INITIALLY DEFERRED)"


@pytest.fixture
def bakery(bakery):
    """A bakery with crumbs, each of which needs a mouse when it is committed."""
    bakery.database.execute_sql("CREATE TABLE mouse (id INTEGER PRIMARY KEY)")
    bakery.database.execute_sql(CRUMB)
    if isinstance(bakery.database, peewee.SqliteDatabase):
        bakery.database.execute_sql("PRAGMA foreign_keys = on")
    return bakery


@pytest.fixture
def batch(bakery):
    """Three commands, of which the second drops a crumb whenever it is handled."""
    bake = bakery.bake

    def bake_badly(command):
        if command.name == "oat":
            bakery.database.execute_sql("INSERT INTO crumb VALUES (7)")
        return bake(command)

    bakery.baker = bakery.worker("bakery.bake", bakery.baker.function.command, bake_badly)
    return [bakery.bake_record(name, name) for name in ("rye", "oat", "corn")]


def told(outcomes, replies):
    return [outcome for _, outcome in outcomes(replies)]


def test_refused_commit_fails_one_message_and_no_other(bakery, batch, outcomes):
    replies = bakery.baker.process(batch)
    assert told(outcomes, replies) == ["done", "failed", "done"]
    assert json.loads(decode(replies[1]).data)["code"] == "IntegrityError"
    assert bakery.loaves == ["corn", "rye"]
    assert bakery.inbox == {"rye/bake/do": "done", "corn/bake/do": "done"}
    assert bakery.baker.unworked == []


def test_reply_to_what_the_commit_refused_has_its_moments(bakery, batch):
    now, ticks = bakery.clock(), count()
    bakery.clock = lambda: now + timedelta(microseconds=next(ticks))
    record = bakery.bake_record("oat", "oat", time=now.isoformat())
    [reply] = bakery.baker.process([record])
    stamps = decode(reply).stamps
    assert stamps.received == stamps.began < stamps.ended < stamps.answered


def test_last_of_two_is_found_too(bakery, batch, outcomes):
    assert told(outcomes, bakery.baker.process(batch[:2])) == ["done", "failed"]
    assert bakery.loaves == ["rye"]


def test_of_two_that_are_refused_together_each_has_its_own_answer(bakery, outcomes, monkeypatch):
    commit, committed = bakery.database.commit, list[str]()

    def commit_one():
        if len(bakery.loaves) > len(committed) + 1:
            raise peewee.IntegrityError("one at a time")
        commit()
        committed[:] = bakery.loaves

    monkeypatch.setattr(bakery.database, "commit", commit_one)
    batch = [bakery.bake_record(name, name) for name in ("rye", "oat")]
    assert told(outcomes, bakery.baker.process(batch)) == ["done", "done"]


def test_its_next_attempt_may_succeed(bakery, batch, outcomes):
    bakery.baker.process(batch)
    bakery.database.execute_sql("INSERT INTO mouse VALUES (7)")
    assert told(outcomes, bakery.baker.process([batch[1]])) == ["done"]
    assert bakery.loaves == ["corn", "oat", "rye"]


def test_it_is_found_in_a_guarded_batch(bakery, batch, outcomes):
    bakery.fails_next(KeyError("oven"))
    replies = bakery.baker.process(batch)
    assert told(outcomes, replies) == ["done", "failed", "done"]
    assert bakery.loaves == ["corn", "rye"]


def test_search_ends_when_its_time_is_over(bakery, batch, outcomes):
    times = [0.0] * 5
    bakery.baker.stopwatch = lambda: times.pop() if times else 2 * LONGEST_BATCH
    assert told(outcomes, bakery.baker.process(batch)) == ["done"]
    assert bakery.baker.unworked == batch[1:]


def test_error_that_a_trigger_raises_at_the_commit_counts_too(postgres, open_bakery, outcomes):
    bakery = open_bakery(postgres)
    postgres.execute_sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'no rye today'; END $$"
    )
    postgres.execute_sql(
        "CREATE CONSTRAINT TRIGGER refusal AFTER INSERT ON loaf DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW WHEN (NEW.name = 'rye') EXECUTE FUNCTION refuse()"
    )
    replies = bakery.baker.process([bakery.bake_record(), bakery.bake_record("oat", "t")])
    assert told(outcomes, replies) == ["failed", "done"]
    assert "no rye today" in json.loads(decode(replies[0]).data)["message"]


def test_refused_command_that_acts_outside_is_undone(bakery, batch, outcomes):
    function = replace(bakery.baker.function, outside=True)
    bakery.baker = Worker(function, bakery.database, bakery.clock)
    assert told(outcomes, bakery.baker.process(batch)) == ["done", "failed", "done"]
    assert bakery.calls == ["bake rye", "bake oat", "bake corn"]
    bakery.eater.process([bakery.eat_record("oat", "oat")])
    assert bakery.calls[-1] == "eat oat"


def test_error_before_the_commit_is_as_it_was(database):
    with pytest.raises(peewee.IntegrityError), batch_transaction(database):
        raise peewee.IntegrityError("another process was faster")


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (peewee.OperationalError("disk I/O error"), peewee.OperationalError),
        (peewee.IntegrityError("odd"), CommitRefused),
    ],
)
def test_what_passes_by_itself_refuses_nothing(sqlite, monkeypatch, error, raised):
    def commit():
        raise error

    sqlite.connect()
    monkeypatch.setattr(sqlite, "commit", commit)
    with pytest.raises(raised, match=str(error)), batch_transaction(sqlite):
        pass
