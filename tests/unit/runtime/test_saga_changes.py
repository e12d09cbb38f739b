"""Which sagas change, as those read it who follow them."""

import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from saga.runtime import Command, Event, Message, Saga, Step, saga_changes, saga_queries
from saga.runtime.clock import EPOCH
from saga.runtime.database.connection import connect, rows_written, transaction
from saga.runtime.database.schema import bind
from saga.runtime.envelope import Reply
from saga.runtime.saga_changes import ChangeRow, Place
from saga.runtime.saga_host import HostedSaga, SagaHost
from saga.runtime.saga_rows import SagaRow
from saga.runtime.saga_search import SearchRow
from saga.runtime.saga_store import TABLES, SagaStore, Start
from support.plans import count_rows, slow_plans

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(hours=2)
FIRST = Place(0, 0)


class Begin(Message):
    pass


class Made(Event, topic="changes.events"):
    pass


class Make(Command, topic="changes.make", event=Made):
    pass


class Unmake(Command, topic="changes.unmake", event=Made):
    pass


SAGA = Saga("changes", start=Begin, steps=[Step(Make, undo=Unmake)])


@pytest.fixture
def store(database):
    bind(database, TABLES)
    return SagaStore(database)


def start(store, *ids, now=NOW):
    store.start(SAGA, [Start(i, Begin()) for i in ids], now)


def answer(store, *ids, action="do", outcome="done", now=NOW):
    replies = [Reply(i, "make", action, outcome, 1, "{}") for i in ids]
    with transaction(store.database):
        store.advance(SAGA, replies, now)


def changes(store, after=FIRST, rows=99):
    return saga_changes.read(store.database, after, rows)


def told(store, after=FIRST, rows=99):
    return [(change.saga_id, change.entry) for change in changes(store, after, rows)]


def test_each_transaction_is_a_row_with_all_that_it_changes(store):
    start(store, "a", "b b")
    answer(store, "a", "b b")
    assert told(store) == [("a", 0), ("b b", 0), ("a", 1), ("b b", 1)]
    first, second = [row.number for row in ChangeRow.select().order_by(ChangeRow.number)]
    places = [change.place for change in changes(store)]
    assert [str(place) for place in places] == [
        f"{first}-1",
        f"{first}-2",
        f"{second}-1",
        f"{second}-2",
    ]
    for number, place in enumerate(places):
        assert told(store, place) == told(store)[number + 1 :]
        assert saga_changes.parse(str(place)) == place
    assert told(store, saga_changes.position(store.database)) == []


def test_whatever_changes_a_saga_is_noted(store):
    start(store, "a")
    store.cancel(SAGA, "a", NOW)
    with transaction(store.database):
        store.sweep(SAGA, LATER)
    answer(store, "a", action="undo", outcome="unsent")
    store.retry(SAGA, "a", NOW)
    answer(store, "a", action="undo", outcome="unsent")
    history = saga_queries.find(store.database, "a").history
    assert told(store) == [("a", index) for index in range(len(history))]
    assert len(history) >= 4


def test_what_changes_nothing_is_no_row(store):
    start(store)
    answer(store, "unknown")
    start(store, "a")
    answer(store, "a", action="undo")
    with transaction(store.database):
        store.sweep(SAGA, NOW)
    SagaRow.update(due_at=NOW).execute()
    with transaction(store.database):
        store.sweep(SAGA, NOW)
    assert told(store) == [("a", 0)]
    assert ChangeRow.select().count() == 1


def test_what_is_rolled_back_is_no_row(store):
    with store.database.atomic() as transaction:
        start(store, "a")
        transaction.rollback()
    assert told(store) == []


def test_transaction_that_changes_sagas_twice_is_read_whole(store):
    with transaction(store.database):
        start(store, "a")
        start(store, "b")
    assert told(store) == [("a", 0), ("b", 0)]


def test_so_many_transactions_are_read(store):
    for name in "abc":
        start(store, name)
    first = changes(store, rows=2)
    assert [change.saga_id for change in first] == ["a", "b"]
    assert told(store, first[-1].place, 2) == [("c", 0)]


@pytest.mark.parametrize("text", ["", "?", "b 0", "b x 1", "b 0 -1", "b 0 999999999"])
def test_row_that_was_written_over_takes_no_other_along(store, text):
    for name in "abc":
        start(store, name)
    second = changes(store)[1].place.number
    ChangeRow.update(sagas=f"{text}\nd 1 3\n").where(ChangeRow.number == second).execute()
    assert told(store) == [("a", 0), ("d", 1), ("d", 2), ("c", 0)]


def test_what_is_committed_late_is_not_missed(postgres, postgres_url):
    """It has a lower number than what others have committed meanwhile."""
    bind(postgres, TABLES)
    store, begun, may_end = SagaStore(postgres), threading.Event(), threading.Event()

    def begin_late():
        with closing(connect(postgres_url)) as other, transaction(other):
            start(SagaStore(other), "late")
            begun.set()
            assert may_end.wait(30)

    thread = threading.Thread(target=begin_late)
    thread.start()
    try:
        assert begun.wait(30)
        before = saga_changes.position(postgres)
        start(store, "early")
        assert told(store, before) == []
        assert saga_changes.held_since(postgres) == NOW
        start(store, "newer", now=LATER)
        # PostgreSQL writes it anew, behind what is there.
        ChangeRow.update(at=NOW).where(ChangeRow.at == NOW).execute()
        assert saga_changes.held_since(postgres) == NOW
        saga_changes.prune(postgres, LATER)
        assert saga_changes.held_since(postgres) == LATER
    finally:
        may_end.set()
        thread.join()
    assert told(store, before) == [("late", 0), ("early", 0), ("newer", 0)]
    assert saga_changes.held_since(postgres) is None


def test_nothing_is_held_back_on_sqlite(sqlite):
    bind(sqlite, TABLES)
    start(SagaStore(sqlite), "a")
    assert saga_changes.held_since(sqlite) is None


@pytest.mark.parametrize("text", ["", "1", "-1", "1-", "a-1", "1-1-1", "9" * 19 + "-1", "1-²"])
def test_what_is_no_place_is_none(text):
    assert saga_changes.parse(text) is None


def test_what_is_older_than_an_hour_is_dropped_and_who_was_before_it_is_told(store):
    start(store, "a")
    before = changes(store)[-1].place
    start(store, "b")
    start(store, "c", now=LATER)
    places = [change.place for change in changes(store)]
    saga_changes.prune(store.database, LATER)
    assert told(store) == [("b", 0), ("c", 0)]
    ats = [row.at for row in ChangeRow.select().order_by(ChangeRow.number)]
    assert ats == [EPOCH, LATER]
    lost = [saga_changes.is_lost(store.database, place) for place in (before, *places[1:])]
    assert lost == [True, False, False]
    assert not saga_changes.is_lost(store.database, saga_changes.position(store.database))


def test_prune_of_what_was_pruned_writes_nothing(store):
    start(store, "a")
    start(store, "b")
    written = []
    for _ in range(2):
        saga_changes.prune(store.database, LATER)
        assert [(row.at, row.sagas) for row in ChangeRow.select()] == [(EPOCH, "b 0 1\n")]
        written.append(rows_written(store.database))
    assert written[1] == written[0]
    assert not saga_changes.is_lost(store.database, changes(store)[-1].place)


def test_no_more_rows_are_kept_than_there_may_be(store, monkeypatch):
    monkeypatch.setattr(saga_changes, "MOST", 2)
    for name in "abcd":
        start(store, name)
    saga_changes.prune(store.database, NOW)
    assert told(store) == [("b", 0), ("c", 0), ("d", 0)]
    saga_changes.prune(store.database, NOW)
    assert ChangeRow.select().count() == 3


def test_what_is_an_hour_old_is_kept(store):
    for name, age in (("a", saga_changes.KEPT * 2), ("b", saga_changes.KEPT), ("c", timedelta(0))):
        start(store, name, now=LATER - age)
    start(store, "d", now=LATER)
    saga_changes.prune(store.database, LATER)
    assert ChangeRow.select().where(ChangeRow.at == EPOCH).count() == 1
    assert told(store)[-3:] == [("b", 0), ("c", 0), ("d", 0)]


def test_rows_are_kept_by_their_number_whatever_came_first(store):
    for number in (3, 2, 1):
        at = NOW if number == 1 else LATER
        ChangeRow.insert(number=number, at=at, sagas=f"{number} 0 1\n").execute()
    saga_changes.prune(store.database, LATER)
    assert told(store) == [("1", 0), ("2", 0), ("3", 0)]


def test_each_look_for_a_row_finds_one(store):
    for name in "abc":
        start(store, name)
    last = changes(store)[-1].place.number
    looks = (
        saga_changes._select_oldest.on(store.database),
        saga_changes._select_before.on(store.database, last),
        saga_changes._select_recent.on(store.database, NOW),
        saga_changes._select_newest.on(store.database, 0),
    )
    assert [len(list(found)) for found in looks] == [1, 1, 1, 1]


def test_nothing_is_lost_where_nothing_was_dropped(store):
    before = saga_changes.position(store.database)
    saga_changes.prune(store.database, LATER)
    start(store, "a")
    assert not saga_changes.is_lost(store.database, before)
    assert not saga_changes.is_lost(store.database, FIRST)
    assert told(store, before) == [("a", 0)]


def test_place_in_another_database_is_lost(store):
    start(store, "a")
    assert saga_changes.is_lost(store.database, Place(10**15, 0))


def test_marked_row_of_another_server_hides_nothing(postgres):
    """A restored dump may have numbers that its server has not reached yet."""
    bind(postgres, TABLES)
    ChangeRow.insert(number=10**15, at=EPOCH, sagas="x 0 1\n").execute()
    store, before = SagaStore(postgres), saga_changes.position(postgres)
    start(store, "a")
    assert not saga_changes.is_lost(postgres, before)
    assert told(store, before) == [("a", 0)]


def test_host_prunes_once_a_minute(store):
    now = LATER
    host = SagaHost(HostedSaga("test.changes", SAGA), store.database, lambda: now)
    for name, seconds, left in (("a", 0, 1), ("b", 59, 2), ("c", 1, 1)):
        start(store, name)
        answer(store, name)
        now += timedelta(seconds=seconds)
        host.sweep()
        assert ChangeRow.select().where(ChangeRow.at == NOW).count() == 2 * (left - 1)
        assert ChangeRow.select().where(ChangeRow.at == EPOCH).count() == 1


def test_database_of_an_earlier_version_gets_the_table(database):
    bind(database, [SagaRow, SearchRow])
    assert not database.table_exists("saga_change")
    bind(database, TABLES)
    store = SagaStore(database)
    start(store, "a")
    assert told(store) == [("a", 0)]


def test_changes_are_read_from_the_index(store):
    for number in range(400):
        ChangeRow.insert(number=number + 1, at=NOW, sagas="x 0 1\n").execute()
    count_rows(store.database)
    assert slow_plans(store.database, lambda: changes(store, Place(300, 0), 9)) == []
