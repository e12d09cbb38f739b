"""What is stored until it is sent: of each timer its own, the oldest first, so much at a time."""

from datetime import UTC, datetime, timedelta

import peewee
import pytest

from saga.runtime import outbox
from saga.runtime.database.schema import bind
from saga.runtime.envelope import Envelope
from saga.runtime.outbox import OutboxRow

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(seconds=7)
REMIND, CLOSE = "billing.remind_debtors", "billing.close_year"


@pytest.fixture
def database(database):
    bind(database, outbox.TABLES)
    return database


def records(*numbers):
    told = ("Remind", "/billing", NOW.isoformat(), '{"text": "grüß"}')
    return [Envelope("mail.remind", f"invoice-{n}/remind/do", *told).record() for n in numbers]


def unsent(database, timer=REMIND):
    return [command.record for command in outbox.unsent(database, timer)]


def test_timer_that_has_never_ticked_is_due_from_the_first_look_on(database):
    assert outbox.lock_due(database, REMIND, NOW) == NOW
    assert outbox.lock_due(database, REMIND, LATER) == NOW


def test_first_look_of_another_replica_at_the_same_time_changes_nothing(database):
    outbox.lock_due(database, REMIND, NOW)
    outbox._insert_due.on(database, REMIND, LATER)
    assert outbox.lock_due(database, REMIND, LATER) == NOW


EDITED = {
    "headers = ''": "JSONDecodeError: ",
    "headers = '[1]'": "TypeError: ",
    "headers = '[[\"a\", 1]]'": "AttributeError: ",
    f"headers = '{'[' * 9_999}'": "RecursionError: ",
    "topic = ''": "ContractError: its topic: '' can't be a topic",
    "topic = 'a b'": "ContractError: its topic: 'a b' can't be a topic",
}


@pytest.mark.parametrize("edited", EDITED)
def test_row_that_cant_be_read_is_told_and_holds_up_no_other(database, caplog, edited):
    outbox.put(database, REMIND, records(1, 2))
    [first, _] = outbox.unsent(database, REMIND)
    database.execute_sql(f"UPDATE outbox SET {edited} WHERE id = {first.number}")
    assert unsent(database) == records(2)
    assert f"row {first.number} of the outbox can't be read: {EDITED[edited]}" in caplog.text


@pytest.mark.parametrize("value", ["x'ff'", "'soon'"])
def test_timer_that_is_due_at_what_is_no_number_is_due(sqlite, value):
    bind(sqlite, outbox.TABLES)
    outbox.lock_due(sqlite, REMIND, NOW)
    sqlite.execute_sql(f"UPDATE timer_due SET due_at = {value}")
    assert outbox.lock_due(sqlite, REMIND, NOW) < NOW


def test_each_timer_is_due_at_a_time_of_its_own(database):
    for timer in (REMIND, CLOSE):
        outbox.lock_due(database, timer, NOW)
    outbox.set_due(database, REMIND, LATER)
    assert outbox.lock_due(database, REMIND, NOW) == LATER
    assert outbox.lock_due(database, CLOSE, NOW) == NOW


def test_what_is_stored_is_unsent_as_it_was_until_it_is_deleted(database):
    outbox.put(database, REMIND, records(1, 2, 3))
    outbox.put(database, CLOSE, records(4))
    assert unsent(database) == records(1, 2, 3)
    outbox.delete(database, [one.number for one in outbox.unsent(database, REMIND)[:2]])
    assert unsent(database) == records(3)
    assert unsent(database, CLOSE) == records(4)


def test_oldest_are_sent_first_so_many_together(database, monkeypatch):
    monkeypatch.setattr(outbox, "SENT_TOGETHER", 2)
    outbox.put(database, REMIND, records(1, 2, 3))
    if isinstance(database, peewee.PostgresqlDatabase):  # where a changed row is found behind
        database.execute_sql("SET enable_indexscan = off; SET enable_bitmapscan = off")
        OutboxRow.update(timer=REMIND).where(OutboxRow.key == "invoice-1").execute()
    with outbox._select.built_anew():
        assert unsent(database) == records(1, 2)
