"""What a database says of its sagas."""

from datetime import UTC, datetime, timedelta

import pytest

from saga.runtime import Command, Event, Message, Saga, Step
from saga.runtime.database.connection import connect
from saga.runtime.database.schema import bind
from saga.runtime.metrics import stored
from saga.runtime.metrics.catalogue import OLDEST, SAGAS
from saga.runtime.metrics.stored import STATUSES, ask, sagas
from saga.runtime.saga_rows import SagaRow
from saga.runtime.saga_store import TABLES, SagaStore, Start

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
LATER = NOW + timedelta(seconds=90)


class Feed(Message):
    guest: str


class Fed(Event, topic="stored.events"):
    pass


class Cook(Command, topic="stored.cook", event=Fed):
    guest: str


feast = Saga("feast", start=Feed, steps=[Step(Cook)])


def made_at(moment: datetime, number: int) -> str:
    """Make an id as a UUID of version 7 has the moment in it."""
    digits = f"{int(moment.timestamp() * 1000):012x}"
    return f"{digits[:8]}-{digits[8:]}-7000-8000-{number:012}"


@pytest.fixture
def store(database):
    bind(database, TABLES)
    return SagaStore(database)


def begin(store, *ids):
    starts = [Start(saga_id, Feed(guest="Ann")) for saga_id in ids]
    store.start(feast, starts, NOW)


def test_no_sagas_are_no_samples(database, store):
    assert list(sagas(database, NOW)) == []


def test_sagas_are_counted_by_status(database, store):
    begin(store, *(made_at(NOW, n) for n in range(3)))
    SagaRow.update(status="FAILED", due_at=None).where(SagaRow.id == made_at(NOW, 1)).execute()
    counted = {labels: value for metric, labels, value in sagas(database, NOW) if metric is SAGAS}
    assert counted.keys() == {("feast", status) for status in STATUSES}
    assert {labels[1]: value for labels, value in counted.items() if value} == {
        "RUNNING": 2,
        "FAILED": 1,
    }


def test_oldest_open_saga_tells_its_age(database, store):
    begin(store, made_at(NOW + timedelta(seconds=10), 1), made_at(NOW + timedelta(seconds=60), 2))
    begin(store, made_at(NOW, 3))
    SagaRow.update(status="COMPLETED").where(SagaRow.id == made_at(NOW, 3)).execute()
    SagaRow.update(status="COMPENSATING").where(
        SagaRow.id == made_at(NOW + timedelta(seconds=10), 1)
    ).execute()
    [(_, labels, age)] = [one for one in sagas(database, LATER) if one[0] is OLDEST]
    assert (labels, age) == (("feast",), 80.0)


def test_age_of_none_is_absent(database, store):
    begin(store, made_at(NOW, 1))
    SagaRow.update(status="COMPLETED", due_at=None).execute()
    assert [metric for metric, *_ in sagas(database, NOW) if metric is OLDEST] == []


def test_database_that_is_not_there_yet_is_not_made(tmp_path):
    assert ask(f"sqlite:///{tmp_path}/none.db") == []
    assert list(tmp_path.iterdir()) == []


def test_database_is_opened_for_the_asking(tmp_path):
    url = f"sqlite:///{tmp_path}/feast.db"
    database = connect(url)
    bind(database, TABLES)
    begin(SagaStore(database), made_at(NOW, 1))
    database.close()
    assert (SAGAS, ("feast", "RUNNING"), 1) in ask(url)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_id_that_is_no_uuid_of_version_7_hides_no_age(database, store, monkeypatch, number):
    monkeypatch.setattr(stored, "LOOKED_AT", 2)
    good, odd = made_at(NOW, 0), ["!", "0", "00000000-0000-4000-8000-000000000000"][-number:]
    begin(store, good, *(made_at(NOW, n + 1) for n in range(number)))
    for n, saga_id in enumerate(odd):
        SagaRow.update(id=saga_id).where(SagaRow.id == made_at(NOW, n + 1)).execute()
    told = [value for metric, _, value in sagas(database, LATER) if metric is OLDEST]
    assert told == [90.0]


def test_ids_that_are_all_odd_tell_no_age(database, store):
    begin(store, made_at(NOW, 0))
    SagaRow.update(id="odd").execute()
    told = list(sagas(database, LATER))
    assert [metric for metric, *_ in told if metric is OLDEST] == []
    assert (SAGAS, ("feast", "RUNNING"), 1) in told
